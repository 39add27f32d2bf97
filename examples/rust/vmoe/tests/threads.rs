//! One model in many threads: the same bits, cancelling, panics, dropping.

mod common;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;

use vmoe::{Cancel, Import, Input, LoadOptions, Model, Status};

use common::{bits, demo, demo_path, dial, golden, noise, scratch, IMAGE};

const THREADS: usize = 8;

#[test]
fn many_threads_get_the_same_bits() {
    let model = demo();
    let pixels = noise(3 * IMAGE);
    let expected = bits(&model.logits(Input::Pixels(&pixels), &dial()).unwrap());
    let start = Barrier::new(THREADS);

    thread::scope(|scope| {
        for number in 0..THREADS {
            let (model, pixels, expected, start) = (&model, &pixels, &expected, &start);
            scope.spawn(move || {
                let options = dial().threads(1 + number as u32 % 3);
                start.wait();
                for _ in 0..5 {
                    let logits = model.logits(Input::Pixels(pixels), &options).unwrap();
                    assert_eq!(&bits(&logits), expected);
                }
            });
        }
    });
}

#[test]
fn another_thread_can_cancel_loads() {
    let cancel = Cancel::new();
    let options = LoadOptions::new().cancel(&cancel);
    let (loaded, loads) = channel();

    let error = thread::scope(|scope| {
        let (options, cancel) = (&options, &cancel);
        let loader = scope.spawn(move || loop {
            let late = cancel.is_cancelled();
            match options.load(demo_path()) {
                Ok(_) => assert!(!late),
                Err(error) => return error,
            }
            loaded.send(()).unwrap();
        });
        loads.recv().unwrap();
        cancel.cancel();
        loader.join().unwrap()
    });
    assert_eq!(error.status(), Status::Cancelled);
    assert_eq!(error.place(), "options.cancel");
    let bytes = std::fs::read(demo_path()).unwrap();
    assert_eq!(options.load_bytes(&bytes).unwrap_err().status(), Status::Cancelled);
    cancel.reset();
    options.load_bytes(&bytes).unwrap();
}

/// Enough for several slices of a call.
fn long_batch() -> Vec<u8> {
    noise(100 * IMAGE)
}

#[test]
fn another_thread_can_cancel() {
    let model = demo();
    let pixels = long_batch();
    let cancel = Cancel::new();
    let (started, starts) = channel();
    let (resume, resumes) = channel::<()>();
    let (started, resumes) = (std::sync::Mutex::new(started), std::sync::Mutex::new(resumes));
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    let options = dial().cancel(&cancel).progress(move |done, _| {
        seen.store(done, Ordering::Relaxed);
        started.lock().unwrap().send(()).unwrap();
        resumes.lock().unwrap().recv().unwrap();
    });

    let error = thread::scope(|scope| {
        let call = scope.spawn(|| model.logits(Input::Pixels(&pixels), &options));
        starts.recv().unwrap();
        cancel.cancel();
        resume.send(()).unwrap();
        call.join().unwrap().unwrap_err()
    });
    assert_eq!(error.status(), Status::Cancelled);
    assert!(!error.text().is_empty());
    assert!(last.load(Ordering::Relaxed) < 100);

    let options = dial().cancel(&cancel);
    let image = Input::Pixels(&pixels[..IMAGE]);
    assert!(cancel.is_cancelled());
    assert_eq!(model.logits(image, &options).unwrap_err().status(), Status::Cancelled);
    cancel.reset();
    model.logits(image, &options).unwrap();
}

/// The text of the panic in which a call ends.
fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();

    panic.downcast_ref::<&str>().unwrap().to_string()
}

#[test]
fn a_panic_in_the_progress_goes_on_in_the_caller() {
    let model = demo();
    let pixels = long_batch();
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    let options = dial().progress(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        panic!("enough");
    });
    let text = panic_of(|| drop(model.logits(Input::Pixels(&pixels), &options)));

    assert_eq!(text, "enough");
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    let cancel = Cancel::new();
    let options = options.cancel(&cancel);
    let text = panic_of(|| drop(model.logits(Input::Pixels(&pixels), &options)));
    assert_eq!(text, "enough");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(!cancel.is_cancelled());
    model.logits(Input::Pixels(&pixels[..IMAGE]), &dial()).unwrap();
}

#[test]
fn a_panic_in_an_import_goes_on_in_the_caller() {
    let path = scratch("threads-import.vmoe");
    let import = Import::new().progress(|_, _| panic!("no more"));
    let text = panic_of(|| drop(import.write(golden().join("models/gap/model"), &path)));

    assert_eq!(text, "no more");
    assert!(!path.exists());
}

#[test]
fn the_last_owner_frees_the_model() {
    let model = Arc::new(demo());
    let pixels = Arc::new(noise(20 * IMAGE));
    let start = Arc::new(Barrier::new(THREADS + 1));
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (model, pixels) = (Arc::clone(&model), Arc::clone(&pixels));
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                model.logits(Input::Pixels(&pixels), &dial()).unwrap()
            })
        })
        .collect();
    let weak = Arc::downgrade(&model);

    start.wait();
    drop(model); // while the others work
    let mut results = Vec::new();
    for worker in workers {
        results.push(bits(&worker.join().unwrap()));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(weak.upgrade().is_none());
}

#[test]
fn models_come_and_go_while_others_work() {
    let model = demo();
    let bytes = std::fs::read(common::demo_path()).unwrap();
    let pixels = noise(3 * IMAGE);
    let expected = bits(&model.logits(Input::Pixels(&pixels), &dial()).unwrap());

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let own = Model::load_bytes(&bytes).unwrap();
                    let logits = own.logits(Input::Pixels(&pixels), &dial()).unwrap();
                    assert_eq!(bits(&logits), expected);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                let logits = model.logits(Input::Pixels(&pixels), &dial()).unwrap();
                assert_eq!(bits(&logits), expected);
            }
        });
    });
}
