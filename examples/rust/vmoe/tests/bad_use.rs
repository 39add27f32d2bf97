//! Every kind of bad use is an error with the right status, the place and a sentence, and the model
//! works on as before.

mod common;

use std::fmt::Debug;
use std::fs;
use std::ops::ControlFlow;

use vmoe::{
    CapacityRule, Import, Info, Input, Isa, LoadOptions, Model, Picture, Precision, Preprocessing,
    PreprocessingKind, Priority, Result, Status, Want,
};

use common::{bits, demo, demo_path, dial, golden, import_golden, noise, picture, scratch, IMAGE};

/// The call failed as it should; `words` are in the place or in the sentence.
#[track_caller]
fn refused<T: Debug>(result: Result<T>, status: Status, words: &str) {
    let error = result.unwrap_err();
    let shown = error.to_string();

    assert_eq!(error.status(), status, "{shown}");
    assert!(shown.contains(words), "{shown}");
    assert!(error.text().len() > 10, "{shown}");
}

// ---- Loading -------------------------------------------------------------------------------------

#[test]
fn files_that_are_no_models() {
    refused(Model::load("no/such/file"), Status::Io, "no/such/file: ");
    refused(Model::load(""), Status::Io, "");
    refused(Model::load(common::repository()), Status::Io, "");
    refused(Model::load("a\0b"), Status::Argument, "path: byte 1 of the text is a zero");
    refused(vmoe::verify("a\0b"), Status::Argument, "path: ");
    refused(vmoe::verify("no/such/file"), Status::Io, "no/such/file: ");
    refused(Model::load_bytes(&[]), Status::Format, "memory: 0 bytes are too few");
    refused(Model::load_bytes(&noise(10_000)), Status::Format, "memory: ");
}

#[test]
fn files_that_were_damaged() {
    let good = fs::read(demo_path()).unwrap();
    let path = scratch("bad-use-damaged.vmoe");

    for at in [200, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        refused(Model::load_bytes(&bytes), Status::Checksum, "checksum");
        fs::write(&path, &bytes).unwrap();
        refused(Model::load(&path), Status::Checksum, "checksum");
        refused(vmoe::verify(&path), Status::Checksum, "checksum");
    }
    for length in [0, 7, 100, good.len() / 2, good.len() - 1] {
        refused(Model::load_bytes(&good[..length]), Status::Format, "memory: ");
    }
}

#[test]
fn load_options_that_cannot_be_met() {
    let small = LoadOptions::new().max_bytes(1000);

    refused(small.load(demo_path()), Status::Limit, "the limit is 1000");
    let raw = fs::read(import_golden("gap", "bad-use-static.vmoe")).unwrap();
    let result = LoadOptions::new().load_static(common::keep(&raw, 1));
    refused(result, Status::Argument, "aligned to 64");
}

// ---- Pictures ------------------------------------------------------------------------------------

#[test]
fn pictures_that_are_none() {
    let model = demo();
    let jpeg = picture("bag.jpg");
    let options = dial();

    for bytes in [&jpeg[..0], &jpeg[..10], &jpeg[..jpeg.len() - 20], b"text", &noise(1000)] {
        refused(model.classify_jpeg(bytes, 3, &options), Status::Image, "input.pictures[0]: ");
    }
    let pictures = [Picture::Jpeg(&jpeg), Picture::Jpeg(&jpeg[..100])];
    let result = model.run(Input::Pictures(&pictures), &Want::new().top(1), &options);
    refused(result, Status::Image, "input.pictures[1]: ");
}

#[test]
fn pixels_that_do_not_fit() {
    let model = demo();
    let pixels = noise(30 * 20 * 3);
    let cases = [
        (&pixels[1..], 30, 20, 0, Status::Argument, "too few for 20 rows with a stride of 90"),
        (&pixels[..], 30, 20, 91, Status::Argument, "too few for 20 rows with a stride of 91"),
        (&pixels[..], 30, 20, 89, Status::Argument, "less than the 90 of a row"),
        (&pixels[..], 30, 20, usize::MAX, Status::Argument, "too few"),
        (&pixels[..], 0, 20, 0, Status::Argument, "at least one"),
        (&pixels[..], 30, 0, 0, Status::Argument, "at least one"),
        (&pixels[..0], 1, 1, 0, Status::Argument, "0 bytes, too few"),
        (&pixels[..], u32::MAX, u32::MAX, 0, Status::Limit, "more than the limit"),
        (&pixels[..], u32::MAX, 1, 0, Status::Limit, "more than the limit"),
    ];

    for (pixels, width, height, stride, status, words) in cases {
        let result = model.classify_rgb8(pixels, width, height, stride, 3, &dial());
        refused(result, status, words);
    }
}

#[test]
fn preprocessings_that_do_not_exist() {
    let pixels = [0; 12];
    let picture = Picture::Rgb8 { pixels: &pixels, width: 2, height: 2, stride: 0 };
    let other = Preprocessing { kind: PreprocessingKind::Other(9), side: 8, crop: 0 };

    refused(Preprocessing::resize(0).apply(&picture), Status::Argument, "side");
    refused(Preprocessing::resize(5000).apply(&picture), Status::Limit, "side");
    refused(Preprocessing::resize(u32::MAX).apply(&picture), Status::Limit, "side");
    refused(Preprocessing::small_crop(8, 9).apply(&picture), Status::Argument, "crop");
    refused(Preprocessing::small_crop(8, u32::MAX).apply(&picture), Status::Argument, "crop");
    refused(other.apply(&picture), Status::Argument, "kind");
    let torn = Picture::Jpeg(&pixels);
    refused(Preprocessing::resize(8).apply(&torn), Status::Image, "picture: ");
}

// ---- Arrays --------------------------------------------------------------------------------------

#[test]
fn arrays_of_a_wrong_length() {
    let model = demo();
    let options = dial();
    let pixels = noise(2 * IMAGE);
    let tensor = vec![0.0; 2 * IMAGE];
    let two = Input::Pixels(&pixels);

    for length in [1, IMAGE - 1, IMAGE + 1, 2 * IMAGE - 1] {
        let words = format!("{length} elements were given for");
        let result = model.logits(Input::Pixels(&pixels[..length]), &options);
        refused(result, Status::Argument, &words);
        let result = model.logits(Input::Tensor(&tensor[..length]), &options);
        refused(result, Status::Argument, &words);
    }
    for length in [0, 10, 19, 21] {
        let result = model.logits_into(two, &options, &mut vec![0.0; length]);
        refused(result, Status::Argument, "output.logits: the array has");
    }
    for length in [0, 1, 3 * 2 * 50 * 2 - 1, 3 * 2 * 50 * 2 + 1] {
        let result = model.logits(two, &dial().routes(vec![0; length]));
        refused(result, Status::Argument, "options.routes: the array has");
    }
    let result = model.logits(two, &dial().routes(vec![99; 3 * 2 * 50 * 2]));
    refused(result, Status::Argument, "names expert 99");
}

#[test]
fn more_classes_than_there_are() {
    let model = demo();
    let jpeg = picture("bag.jpg");

    for count in [0, 11, usize::MAX] {
        let words = format!("{count} best classes of 10 were asked for");
        refused(model.classify_jpeg(&jpeg, count, &dial()), Status::Argument, &words);
    }
}

// ---- Options -------------------------------------------------------------------------------------

#[test]
fn options_out_of_range() {
    let model = demo();
    let pixels = noise(2 * IMAGE);
    let new = dial;
    let cases = [
        (new().capacity(-1.0), Status::Argument, "capacity"),
        (new().capacity(f64::NAN), Status::Argument, "capacity"),
        (new().capacity(f64::INFINITY), Status::Argument, "capacity"),
        (new().capacity(64.5), Status::Argument, "capacity"),
        (new().experts(9), Status::Argument, "experts"),
        (new().experts(u32::MAX), Status::Argument, "experts"),
        (new().priority(Priority::Other(9)), Status::Argument, "priority"),
        (new().group(3), Status::Argument, "group"),
        (new().group(u32::MAX - 1), Status::Argument, "group"),
        (new().capacity_rule(CapacityRule::Other(9)), Status::Argument, "capacity_rule"),
        (new().capacity_multiple(u32::MAX), Status::Limit, "capacity_multiple"),
        (new().precision(Precision::Other(9)), Status::Argument, "9 is no vmoe_precision"),
        (new().isa(Isa::Other(99)), Status::Argument, "99 is no vmoe_isa"),
        (new().threads(257), Status::Limit, "257 threads are more than 256"),
    ];

    for (options, status, words) in &cases {
        let want = Want::new().logits().routes();
        refused(model.run(Input::Pixels(&pixels), &want, options), *status, words);
        refused(model.cost(2, options), *status, words);
    }
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Amx].into_iter().filter(|isa| !isa.is_available()) {
        let result = model.logits(Input::Pixels(&pixels), &dial().isa(isa));
        refused(result, Status::Unsupported, isa.name().unwrap());
    }
    refused(model.cost(usize::MAX, &dial()), Status::Limit, "");
    refused(Info::preset("vmoe_b1024"), Status::Argument, "vmoe_b1024");
    refused(Info::preset("vmoe\0"), Status::Argument, "name: byte 4");
}

// ---- Import --------------------------------------------------------------------------------------

#[test]
fn imports_that_cannot_be_made() {
    let source = golden().join("models/gap/model");
    let path = scratch("bad-use-import.vmoe");
    let new = Import::new;
    let stop = |_, _| ControlFlow::Break(());
    let cases = [
        (new().labels(["a", "b"]), Status::Argument, "label"),
        (new().labels(["a\0"; 9]), Status::Argument, "options.labels: byte 1"),
        (new().provenance("\0"), Status::Argument, "options.provenance: byte 0"),
        (new().preset("none"), Status::Argument, "none"),
        (new().preset("\0"), Status::Argument, "options.preset: byte 0"),
        (new().experts(5), Status::Argument, "experts"),
        (new().capacity(-1.0), Status::Argument, "capacity"),
        (new().precision(Precision::Other(9)), Status::Argument, "precision"),
        (new().preprocessing(Preprocessing::resize(7)), Status::Argument, ""),
        (new().progress(stop), Status::Cancelled, ""),
    ];

    for (import, status, words) in cases {
        refused(import.write(&source, &path), status, words);
        assert!(!path.exists(), "{words}");
    }
    refused(new().write("no/such", &path), Status::Io, "no/such");
    refused(new().write("a\0", &path), Status::Argument, "source: byte 1");
    refused(new().write(&source, "a\0"), Status::Argument, "destination: byte 1");
    refused(new().write(&source, "no/such/folder/x.vmoe"), Status::Io, "no/such/folder");
}

// ---- Afterwards ----------------------------------------------------------------------------------

#[test]
fn the_model_works_on_after_errors() {
    let model = demo();
    let pixels = noise(4 * IMAGE);
    let logits = || bits(&model.logits(Input::Pixels(&pixels), &dial()).unwrap());
    let before = logits();

    for _ in 0..20 {
        model.classify_jpeg(b"text", 3, &dial()).unwrap_err();
        model.logits(Input::Pixels(&pixels[1..]), &dial()).unwrap_err();
        model.logits(Input::Pixels(&pixels), &dial().experts(99)).unwrap_err();
    }
    assert_eq!(logits(), before);
}
