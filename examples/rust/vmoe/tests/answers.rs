//! The crate beside the `vmoe` command: the same classes and the same bits; reports add up.

mod common;

use std::process::Command;

use vmoe::{Info, Input, Isa, Model, Options, Priority, Want};

use common::{demo, demo_path, noise, picture, repository, IMAGE};

/// What calls of this process run on, which may lack the tiles that the command has.
fn isa_of(model: &Model) -> Isa {
    let pixels = noise(IMAGE);
    let answer = model.run(Input::Pixels(&pixels), &Want::new().report(), &Options::new());

    answer.unwrap().report.unwrap().isa
}

#[test]
fn classes_are_those_of_the_command() {
    let model = demo();
    let isa = isa_of(&model);
    let options = Options::new().capacity(0.5).priority(Priority::BprMax);

    for name in ["bag.jpg", "coat.jpg", "ankle-boot.jpg"] {
        let top = model.classify_jpeg(&picture(name), 3, &options).unwrap();
        let output = Command::new(std::env::var("VMOE_COMMAND").unwrap_or_else(|_| "vmoe".into()))
            .args(["classify", "--json", "--top", "3", "-C", "0.5", "--priority", "bpr-max"])
            .args(["--isa", isa.name().unwrap()])
            .arg(demo_path())
            .arg(repository().join("examples/demo/pictures").join(name))
            .output()
            .expect("the command runs");
        let said = String::from_utf8(output.stdout).unwrap();
        let probabilities: Vec<f32> = said
            .split("\"probability\": ")
            .skip(1)
            .map(|rest| rest[..rest.find('}').unwrap()].parse().unwrap())
            .collect();

        assert_eq!(probabilities, top.iter().map(|c| c.probability).collect::<Vec<_>>());
        assert!(top.iter().all(|c| said.contains(&format!("\"label\": \"{}\"", c.label))));
    }
}

#[test]
fn a_model_without_members_is_one() {
    let model = demo();
    let pixels = noise(2 * IMAGE);
    let want = Want::new().logits().member_logits();
    let answer = model.run(Input::Pixels(&pixels), &want, &Options::new()).unwrap();
    let ensemble = Info::preset("eee_s32_last2_ilsvrc2012").unwrap();

    assert_eq!(model.info().members(), 1);
    assert_eq!(answer.logits, answer.member_logits);
    assert_eq!((ensemble.members(), ensemble.features()), (2, 2 * ensemble.pre_logits()));
}

#[test]
fn the_report_adds_up() {
    let model = demo();
    let pixels = noise(2 * IMAGE);
    let want = Want::new().logits().report().routes();
    let answer = model.run(Input::Pixels(&pixels), &want, &Options::new().capacity(0.3)).unwrap();
    let report = answer.report.unwrap();

    assert_eq!(report.load.iter().sum::<u64>(), report.processed);
    assert_eq!(report.processed + report.dropped, report.assigned);
    assert_eq!(report.routes.iter().filter(|r| **r < 0).count() as u64, report.dropped);
    assert!(report.dropped > 0);
}
