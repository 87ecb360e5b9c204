//! The real server on objects in memory, and requests to it.

use std::{net::SocketAddr, sync::Arc};

use virtcimd::{
    cim::{CimName, Namespace, Operation, Request},
    http::{ListenAddress, Listeners, Server},
    ops::{Limits, Operations, Registry},
    repository::Repository,
    xml,
};

use super::http_support::{open, request_of};

pub fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

/// The namespace that everything is asked in.
pub fn namespace() -> Namespace {
    Namespace::parse("root/virt").unwrap()
}

/// Serves these objects on loopback.
pub async fn serve(registry: Registry) -> (Server, SocketAddr) {
    serve_operations(Operations::new(Repository::builtin(), registry, Limits::default())).await
}

/// Serves these operations on loopback.
pub async fn serve_operations(operations: Operations) -> (Server, SocketAddr) {
    let options = open();
    let listeners = Listeners::bind(&options, Vec::new()).await.unwrap();
    let limits = xml::Limits::default();
    let server = Server::start(listeners, &options, limits, Arc::new(operations)).unwrap();
    let ListenAddress::Http(address) = server.addresses()[0] else { panic!("not HTTP") };
    (server, address)
}

/// A whole HTTP request. `flags` are boolean parameters that the model leaves out.
pub fn message(operation: &Operation, flags: &[(&str, bool)]) -> String {
    let request = Request { namespace: namespace(), operation: operation.clone() };
    let mut body = String::from_utf8(xml::encode_request("1", &request)).unwrap();
    for (flag, value) in flags {
        let with = |value: &str| {
            format!("<IPARAMVALUE NAME=\"{flag}\"><VALUE>{value}</VALUE></IPARAMVALUE>")
        };
        let value = if *value { "TRUE" } else { "FALSE" };
        // Some servers take a missing LocalOnly for true, so it is sent.
        body = body.replace(&with("FALSE"), "");
        body = body.replace("</IMETHODCALL>", &format!("{}</IMETHODCALL>", with(value)));
    }
    request_of(&body, &[("CIMMethod", Some(operation.name()))])
}
