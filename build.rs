//! Lists the MOF files of `schema/` so that the daemon carries them inside.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("schema");
    let mut list = String::from("&[\n");
    for folder in ["", "cim", "virt"] {
        let path = root.join(folder);
        println!("cargo::rerun-if-changed={}", path.display());
        let mut names: Vec<String> = fs::read_dir(&path)
            .expect("schema/ belongs to the source tree")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
            .filter(|name| name.ends_with(".mof"))
            .collect();
        names.sort();
        for name in names {
            let file = path.join(&name);
            let shown = Path::new("schema").join(folder).join(&name);
            writeln!(list, "({:?}, include_str!({:?})),", shown, file).expect("to a string");
        }
    }
    list.push(']');
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("schema.rs");
    fs::write(target, list).expect("OUT_DIR can be written");
}
