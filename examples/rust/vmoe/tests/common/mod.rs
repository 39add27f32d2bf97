//! What the tests share: files of the repository, .npy arrays, images out of a formula.

#![allow(dead_code)] // each test program uses a part

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use vmoe::{Import, Isa, Model, Options, Precision};

/// Values of an image of the demo model.
pub const IMAGE: usize = 28 * 28 * 3;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

pub fn demo_path() -> PathBuf {
    repository().join("examples/demo/fashion-mnist.vmoe")
}

pub fn demo() -> Model {
    Model::load(demo_path()).unwrap()
}

/// The model's own choices; with VMOE_TEST_ISA=ref in portable C, which is fast enough in valgrind.
pub fn dial() -> Options {
    match std::env::var("VMOE_TEST_ISA").as_deref() {
        Ok("ref") => Options::new().isa(Isa::Ref),
        _ => Options::new(),
    }
}

pub fn picture(name: &str) -> Vec<u8> {
    fs::read(repository().join("examples/demo/pictures").join(name)).unwrap()
}

/// A path for a file that a test makes.
pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The golden data beside the repository, else the few that are in it.
pub fn golden() -> PathBuf {
    let beside = repository().join("../shared/golden");

    if beside.is_dir() {
        beside
    } else {
        repository().join("tests/data/golden")
    }
}

/// A golden model as a raw file of float32, imported to a scratch file of that name.
pub fn import_golden(name: &str, file: &str) -> PathBuf {
    let path = scratch(file);

    Import::new()
        .precision(Precision::F32)
        .write(golden().join("models").join(name).join("model"), &path)
        .unwrap();
    path
}

/// Bytes that look like noise, the same in every run.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;

    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A copy to the end of the process, at an address that is `offset` beyond a multiple of 64.
pub fn keep(bytes: &[u8], offset: usize) -> &'static [u8] {
    // Where a leak check finds them.
    static KEPT: Mutex<Vec<&[u8]>> = Mutex::new(Vec::new());
    let room = Box::leak(vec![0; bytes.len() + 128].into_boxed_slice());
    let begin = room.as_ptr().align_offset(64) + offset;

    room[begin..begin + bytes.len()].copy_from_slice(bytes);
    KEPT.lock().unwrap().push(room);
    &room[begin..begin + bytes.len()]
}

/// An array of a .npy file: its shape and its bytes.
pub struct Npy {
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Npy {
    pub fn load(path: impl AsRef<Path>) -> Npy {
        let file = fs::read(path).unwrap();
        let begin = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        let header = String::from_utf8_lossy(&file[10..begin]).into_owned();
        let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
        let numbers = shape.split(',').filter_map(|number| number.trim().parse().ok());

        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        Npy { shape: numbers.collect(), data: file[begin..].to_vec() }
    }

    pub fn f32(&self) -> Vec<f32> {
        self.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub fn i32(&self) -> Vec<i32> {
        self.data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}
