//! `virtcimctl hosts`: what the server manages.

use std::io::Write;

use serde_json::json;

use super::{
    Outcome, Shared,
    model::{Model, key_text, text},
};
use crate::{cim::CimName, cli::table::Table};

/// Prints each host system with the guests of its class prefix.
pub(super) async fn run(
    model: &Model,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let systems = model.instances(&CimName::literal("CIM_ComputerSystem")).await?;
    let prefix = |class: &CimName| class.as_str().split('_').next().unwrap_or_default().to_owned();
    let (hosts, guests): (Vec<_>, Vec<_>) = systems
        .into_iter()
        .partition(|system| system.class.as_str().to_ascii_lowercase().ends_with("_hostsystem"));
    let mut table = Table::new(["HOST", "HYPERVISOR", "GUESTS"]);
    let mut documents = Vec::new();
    for host in &hosts {
        let kind = prefix(&host.class);
        let name = host
            .path
            .as_ref()
            .map(|path| key_text(path, &CimName::literal("Name")))
            .unwrap_or_default();
        let of_host: Vec<&str> = guests
            .iter()
            .filter(|guest| prefix(&guest.class).eq_ignore_ascii_case(&kind))
            .map(|guest| text(guest, "Name"))
            .collect();
        table.row([&name, &kind, &of_host.join(", ")]);
        documents.push(json!({ "host": name, "hypervisor": kind, "guests": of_host }));
    }
    if shared.json {
        writeln!(out, "{}", serde_json::Value::Array(documents))?;
    } else if hosts.is_empty() {
        writeln!(out, "The server manages no hosts.")?;
    } else {
        write!(out, "{table}")?;
    }
    Ok(Outcome::Done)
}
