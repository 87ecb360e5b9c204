//! Writes the schema as a client would get it, for `tests/python/compare_schema.py`:
//!
//!     cargo run --example schema_xml -- OUTPUT-DIRECTORY [SCHEMA-DIRECTORY…]

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use virtcimd::{
    cim::{ClassOptions, Namespace, Reply},
    repository::Repository,
    xml::{EmbeddedArrays, Envelope, FalseBoolean, Style, encode_reply},
};

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let output = arguments.next().context("name an output directory")?;
    let repository = Repository::load(&arguments.collect::<Vec<_>>())?;
    let options = ClassOptions {
        local_only: false,
        include_qualifiers: true,
        include_class_origin: true,
        properties: None,
    };
    let names = repository.class_names(None, true).context("the roots are always there")?;
    let classes = names.iter().filter_map(|name| repository.view(name, &options)).collect();
    let qualifiers = repository.qualifiers().to_vec();
    let style = Style {
        host: "localhost".to_owned(),
        namespace: Namespace::parse("root/virt")?,
        false_booleans: FalseBoolean::default(),
        embedded_arrays: EmbeddedArrays::default(),
    };
    for (operation, reply) in [
        ("EnumerateClasses", Reply::Classes(classes)),
        ("EnumerateQualifiers", Reply::QualifierDeclarations(qualifiers)),
    ] {
        let envelope = Envelope::intrinsic("1", "1.0", operation);
        let path = output.join(format!("{operation}.xml"));
        fs::write(&path, encode_reply(&envelope, &Ok(reply), &style))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
