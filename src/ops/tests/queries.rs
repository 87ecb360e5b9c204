//! ExecQuery.

use super::*;

fn query(language: &str, query: &str) -> Operation {
    Operation::ExecQuery { language: language.to_owned(), query: query.to_owned() }
}

#[tokio::test]
async fn a_query_finds_instances_of_subclasses_with_their_paths() {
    let server = kvm(&["a", "b"]);
    let found = paths(
        run(&server, query("WQL", "SELECT * FROM CIM_ComputerSystem WHERE Name = 'b'")).await,
    );
    let expected = "//vm:5988/root/virt:KVM_ComputerSystem.CreationClassName=\"KVM_ComputerSystem\",Name=\"b\"";
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn a_select_list_leaves_nothing_else() {
    let server = kvm(&["a"]);
    let text = "SELECT Name, EnabledState FROM KVM_ComputerSystem";
    match &objects(run(&server, query("DMTF:CQL", text)).await)[..] {
        [Object::Instance(instance)] => assert_eq!(shown(instance), ["Name", "EnabledState"]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused_with_the_place() {
    let server = kvm(&["a"]);
    let check = async |language, text, status, part| {
        fails(run(&server, query(language, text)).await, status, part)
    };
    check("SQL", "SELECT 1", StatusCode::QueryLanguageNotSupported, "`SQL`").await;
    check("WQL", "SELECT * FRM x", StatusCode::InvalidQuery, "found `FRM`").await;
    check("WQL", "SELECT * FROM KVM_Nope", StatusCode::InvalidQuery, "KVM_Nope").await;
    let text = "SELECT * FROM KVM_ComputerSystem WHERE Nope = 1";
    check("DMTF:CQL", text, StatusCode::InvalidQuery, "Nope").await;
}
