//! One shared model, and rayon's threads: `classify_folder MODEL.vmoe PICTURE.jpg...`
//!
//! Each picture is a line, in order; a broken one is a line with its error.

use rayon::prelude::*;
use vmoe::{Model, Options, Priority};

fn line(model: &Model, path: &str) -> Result<String, String> {
    let options = Options::new().capacity(0.5).priority(Priority::BprMax).threads(1).group(1);
    let jpeg = std::fs::read(path).map_err(|error| error.to_string())?;
    let top = model.classify_jpeg(&jpeg, 1, &options).map_err(|error| error.to_string())?;

    Ok(format!("{}\t{}\t{}", top[0].index, top[0].label, top[0].probability))
}

fn main() -> Result<(), vmoe::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, pictures) = match arguments.split_first() {
        Some(both) => both,
        None => {
            eprintln!("usage: classify_folder MODEL.vmoe PICTURE.jpg...");
            std::process::exit(2);
        }
    };
    let model = Model::load(path)?;
    let lines: Vec<_> = pictures.par_iter().map(|picture| line(&model, picture)).collect();

    for (picture, line) in pictures.iter().zip(lines) {
        println!("{picture}\t{}", line.unwrap_or_else(|error| format!("error\t{error}")));
    }
    Ok(())
}
