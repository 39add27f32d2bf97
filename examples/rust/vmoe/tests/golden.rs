//! Upstream's own checkpoints, imported, and upstream's own answers: the logits, the capacity and the
//! load of every expert over the dial.

mod common;

use std::fs;

use vmoe::{CapacityRule, Input, Model, Options, Priority, Want};

use common::{golden, import_golden, Npy};

/// Strict float32 stays this close to upstream's float64 answers.
const TOLERANCE: f32 = 2e-5;

/// One row of cases.tsv: its options and the capacity that upstream computed.
fn case(columns: &[&str], row: &str) -> (Options, u64) {
    let cells: Vec<&str> = row.split('\t').collect();
    let cell = |name| cells[columns.iter().position(|column| *column == name).unwrap()];
    let rule = if cell("rule") == "ceil" { CapacityRule::Ceil } else { CapacityRule::Round };
    let priority = if cell("bpr") == "1" { Priority::BprMax } else { Priority::Vanilla };
    let options = Options::new()
        .capacity(cell("C").parse().unwrap())
        .experts(cell("K").parse().unwrap())
        .priority(priority)
        .group(cell("group_images").parse().unwrap())
        .capacity_rule(rule)
        .capacity_multiple(cell("multiple").parse().unwrap());

    (options, cell("capacity").parse().unwrap())
}

/// Checks all cases of a model and tells their number.
fn check(name: &str) -> usize {
    let folder = golden().join("models").join(name);
    let model = Model::load(import_golden(name, &format!("golden-{name}.vmoe"))).unwrap();
    let images = Npy::load(folder.join("images.npy"));
    let logits = Npy::load(folder.join("logits.npy")).f32();
    let loads = Npy::load(folder.join("load.npy")).i32();
    let table = fs::read_to_string(folder.join("cases.tsv")).unwrap();
    let mut rows = table.lines();
    let columns: Vec<&str> = rows.next().unwrap().split('\t').collect();
    let cases: Vec<_> = rows.map(|row| case(&columns, row)).collect();
    let per_case = images.shape[0] * model.info().classes() as usize;
    let loads_per_case = (model.info().moe_layers() * model.info().experts()) as usize;
    let mut worst = 0.0f32;

    assert_eq!(logits.len(), cases.len() * per_case);
    assert_eq!(loads.len(), cases.len() * loads_per_case);
    for (i, (options, capacity)) in cases.iter().enumerate() {
        let want = Want::new().logits().report();
        let answer = model.run(Input::Pixels(&images.data), &want, options).unwrap();
        let expected = &logits[i * per_case..(i + 1) * per_case];
        let load = loads[i * loads_per_case..(i + 1) * loads_per_case].iter().map(|&n| n as u64);
        let report = answer.report.unwrap();

        assert_eq!(report.capacity, *capacity, "{name} case {i}");
        assert!(report.load.into_iter().eq(load), "{name} case {i}");
        for (found, expected) in answer.logits.iter().zip(expected) {
            worst = worst.max((found - expected).abs());
            assert!(worst <= TOLERANCE, "{name} case {i}: {found} is not {expected}");
        }
    }
    println!("{name}: {} cases, max |difference| of logits {worst:.2e}", cases.len());
    cases.len()
}

#[test]
fn answers_are_those_of_upstream() {
    let present: Vec<&str> = ["token", "odd", "last2", "map", "gap"]
        .into_iter()
        .filter(|name| golden().join("models").join(name).join("model.index").is_file())
        .collect();
    let cases: usize = present.iter().map(|name| check(name)).sum();

    assert!(cases >= 8);
}
