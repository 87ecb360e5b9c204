//! What leaves an audit record.

use std::io;

use super::*;
use crate::cim::{ClassPath, ObjectPath, ParamValue};

/// Collects the lines of a subscriber.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The audit records of one operation of a viewer.
fn records(operation: Operation) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let request = Request { namespace: namespace("root/virt"), operation };
    recorded(|| {
        runtime.block_on(async {
            drop(kvm(&["a"]).execute(&context(Role::Viewer), request).await);
        });
    })
}

/// The audit records of what `work` does.
fn recorded(work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_env_filter("audit=info")
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn calls_and_changes_are_recorded_with_who_where_what_and_what_came_of_it() {
    let parameter = |parameter: &str, value: Value| ParamValue {
        name: name(parameter),
        ty: None,
        value: Some(value),
    };
    let call = Operation::InvokeMethod {
        object: ObjectPath::Class(ClassPath::local(name("KVM_HostSystem"))),
        method: name("RequestStateChange"),
        parameters: vec![
            parameter("RequestedState", 2_u16.into()),
            parameter("Text", "a\n\"b".into()),
            parameter("Settings", "instance of X { Password = \"secret\"; };".into()),
        ],
    };
    let record = records(call);
    for text in [
        "someone",
        "127.0.0.1:1",
        "RequestStateChange",
        "KVM_HostSystem",
        "RequestedState=2",
        "CIM_ERR_METHOD_NOT_AVAILABLE",
    ] {
        assert!(record.contains(text), "{record} does not contain {text}");
    }
    assert!(!record.contains("secret"), "{record}");
    assert_eq!(record.lines().count(), 1, "{record}");

    let record = records(Operation::DeleteInstance { path: guest_path("a") });
    assert!(record.contains("DeleteInstance") && record.contains("CIM_ERR_ACCESS_DENIED"));
}

#[test]
fn reading_leaves_no_record() {
    assert_eq!(records(get(guest_path("a"))), "");
    assert_eq!(records(Operation::EnumerateQualifiers), "");
}

#[test]
fn a_record_is_short_whatever_the_caller_sends() {
    let long = "x".repeat(100_000);
    let parameter = |index: usize| ParamValue {
        name: name(&format!("p{index}{long}")),
        ty: None,
        value: Some(long.as_str().into()),
    };
    let record = records(Operation::InvokeMethod {
        object: ObjectPath::Class(ClassPath::local(name(&long))),
        method: name(&long),
        parameters: (0..50).map(parameter).collect(),
    });
    assert!(record.contains("and 34 more"), "{record}");
    let record = record.len() + records(Operation::DeleteInstance { path: path(&long, &[]) }).len();
    assert!(record < 20_000, "{record} bytes");
}

#[test]
fn a_change_whose_parameters_cannot_be_read_is_recorded_too() {
    let space = namespace("root/virt");
    let refuse = |operation| {
        recorded(|| {
            let error = CimError::new(StatusCode::InvalidParameter, "what is that");
            kvm(&[]).refuse(&context(Role::Viewer), Misread::Operation(operation, &space), error);
        })
    };
    let record = refuse("DeleteInstance");
    for text in ["someone", "DeleteInstance", "root/virt", "CIM_ERR_ACCESS_DENIED"] {
        assert!(record.contains(text), "{text:?} is missing in {record}");
    }
    assert_eq!(refuse("GetInstance"), "");
}
