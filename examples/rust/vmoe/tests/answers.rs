//! The crate beside the `vmoe` command: the same bits, and an error for every bad use.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use vmoe::{Cancel, Input, Model, Options, Picture, Priority, Status, Want};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn model_path() -> PathBuf {
    root().join("examples/demo/fashion-mnist.vmoe")
}

fn model() -> Model {
    Model::load(model_path()).expect("the demo model loads")
}

fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(root().join("examples/demo/pictures").join(name)).expect("the picture is there")
}

fn tensor(model: &Model, images: usize) -> Vec<f32> {
    let side = model.info().image_size() as usize;
    (0..images * side * side * 3).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect()
}

#[test]
fn classes_are_those_of_the_command() {
    let model = model();
    let options = Options::new().capacity(0.5).priority(Priority::BprMax);

    for name in ["bag.jpg", "coat.jpg", "ankle-boot.jpg"] {
        let top = model.classify_jpeg(&jpeg(name), 3, &options).unwrap();
        let output = Command::new(std::env::var("VMOE_COMMAND").unwrap_or_else(|_| "vmoe".into()))
            .args(["classify", "--json", "--top", "3", "-C", "0.5", "--priority", "bpr-max"])
            .arg(model_path())
            .arg(root().join("examples/demo/pictures").join(name))
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
fn the_report_adds_up() {
    let model = model();
    let images = tensor(&model, 2);
    let want = Want::new().logits().report().routes();
    let answer = model.run(Input::Tensor(&images), &want, &Options::new().capacity(0.3)).unwrap();
    let report = answer.report.unwrap();

    assert_eq!(report.load.iter().sum::<u64>(), report.processed);
    assert_eq!(report.processed + report.dropped, report.assigned);
    assert_eq!(report.routes.iter().filter(|r| **r < 0).count() as u64, report.dropped);
    assert!(report.dropped > 0);
}

#[test]
fn many_threads_share_a_model() {
    let model = Arc::new(model());
    let images = tensor(&model, 1);
    let expected = model.logits(Input::Tensor(&images), &Options::new()).unwrap();

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let logits = model.logits(Input::Tensor(&images), &Options::new()).unwrap();
                    assert_eq!(logits, expected);
                }
            });
        }
    });
}

#[test]
fn bad_use_is_an_error_with_a_sentence() {
    let model = model();
    let images = tensor(&model, 1);
    let refused = |result: Result<Vec<f32>, vmoe::Error>, status: Status, place: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.status(), status);
        assert!(error.place().contains(place), "{error}");
        assert!(!error.text().is_empty());
    };
    let run = |options: Options| model.logits(Input::Tensor(&images), &options);

    refused(run(Options::new().capacity(-1.0)), Status::Argument, "capacity");
    refused(run(Options::new().experts(9)), Status::Argument, "experts");
    refused(run(Options::new().group(2)), Status::Argument, "group");
    let cancelled = Cancel::new();
    cancelled.cancel();
    refused(run(Options::new().cancel(&cancelled)), Status::Cancelled, "cancel");
    refused(model.logits(Input::Tensor(&images[1..]), &Options::new()), Status::Argument, "");
    let broken = [Picture::Jpeg(b"no picture")];
    refused(model.logits(Input::Pictures(&broken), &Options::new()), Status::Image, "");
    assert_eq!(Model::load("/nowhere.vmoe").unwrap_err().status(), Status::Io);
    let mut bytes = std::fs::read(model_path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert_eq!(Model::load_bytes(&bytes).unwrap_err().status(), Status::Checksum);
    assert!(run(Options::new()).is_ok());
}
