use super::*;

#[test]
fn the_schema_inside_the_program_loads() {
    let repository = Repository::builtin();
    assert_eq!(repository.classes.len(), 162);
}
