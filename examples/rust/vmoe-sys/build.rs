//! Finds the installed libvmoe: in the folder that `VMOE_DIR` names (with `lib` and `include` below
//! it), else by pkg-config.  The folder of vmoe.h goes to the tests, which compare with it, and, as
//! `DEP_VMOE_INCLUDE`, to the build scripts of crates that depend on this one.

use std::{env, path::Path, process};

/// The oldest library that has everything the bindings declare.
const VERSION: &str = "0.1.0";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VMOE_DIR");
    let found = match env::var_os("VMOE_DIR") {
        Some(folder) => in_folder(Path::new(&folder)),
        None => by_pkg_config(),
    };
    match found {
        Ok(include) => {
            println!("cargo:include={include}");
            println!("cargo:rustc-env=VMOE_INCLUDE={include}");
        }
        Err(message) => {
            eprintln!("{message}");
            process::exit(1);
        }
    }
}

fn is_static() -> bool {
    env::var_os("CARGO_FEATURE_STATIC").is_some()
}

fn in_folder(folder: &Path) -> Result<String, String> {
    let include = folder.join("include");

    if !include.join("vmoe.h").is_file() {
        return Err(format!("VMOE_DIR: there is no {}/vmoe.h", include.display()));
    }
    println!("cargo:rustc-link-search=native={}", folder.join("lib").display());
    if is_static() {
        println!("cargo:rustc-link-lib=static=vmoe");
        println!("cargo:rustc-link-lib=jpeg");
        println!("cargo:rustc-link-lib=z");
    } else {
        println!("cargo:rustc-link-lib=vmoe");
    }
    Ok(include.display().to_string())
}

fn by_pkg_config() -> Result<String, String> {
    pkg_config::Config::new()
        .atleast_version(VERSION)
        .statik(is_static())
        .probe("libvmoe")
        .and_then(|_| pkg_config::get_variable("libvmoe", "includedir"))
        .map_err(|error| {
            format!(
                "{error}\n\nlibvmoe was not found.  Install it (`make install`), and set \
                 PKG_CONFIG_PATH to the folder of libvmoe.pc, or VMOE_DIR to the prefix."
            )
        })
}
