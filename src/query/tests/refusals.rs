//! What is refused, and where it is wrong.

use super::*;

#[track_caller]
fn refused(language: Option<Language>, text: &str, message: &str) {
    let model = model();
    let error = match language {
        Some(language) => {
            parse(language, text).and_then(|query| query.check(&model)).expect_err("not refused")
        }
        None => parse_filter(text)
            .and_then(|filter| filter.check(&name("T_Base"), &model))
            .expect_err("not refused"),
    };
    assert_eq!(error.to_string(), message, "{text}");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cql = |text, message| refused(Some(Language::Cql), text, message);
    cql("", "at character 1: expected SELECT, found the end");
    cql("SELEKT *", "at character 1: expected SELECT, found `SELEKT`");
    cql("SELECT FROM T_Base", "at character 8: expected a property or `*`, found `FROM`");
    cql("SELECT * T_Base", "at character 10: expected FROM, found `T_Base`");
    cql("SELECT * FROM", "at character 14: expected a class name, found the end");
    cql(
        "SELECT * FROM \u{279d2}",
        "at character 15: expected a name, a literal or an operator, found `\u{279d2}`",
    );
    cql("SELECT * FROM 'x'", "at character 15: expected a class name, found `'x'`");
    cql("SELECT * FROM T_Base WERE x", "at character 27: expected WHERE or the end, found `x`");
    cql(
        "SELECT * FROM T_Base WHERE",
        "at character 27: expected a property or a literal, found the end",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = é!",
        "at character 36: expected a name, a literal or an operator, found `!`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = 'x",
        "at character 35: expected a closed string, found `'x`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = NULL",
        "at character 35: expected a value (IS NULL asks for NULL), found `NULL`",
    );
    cql(
        "SELECT * FROM T_Base WHERE 'é' = Name Name",
        "at character 39: expected AND, OR or the end, found `Name`",
    );
    cql(
        "SELECT * FROM T_Base WHERE (Active",
        "at character 35: expected AND, OR or `)`, found the end",
    );
    cql("SELECT * FROM T_Base WHERE Size = 12x", "at character 35: expected a number, found `12x`");
    cql(
        "SELECT * FROM T_Base WHERE Size = 18446744073709551616",
        "at character 35: expected an integer of at most 64 bits, found `18446744073709551616`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = '\\u12'",
        "at character 36: expected the hexadecimal code of a character, found `12`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Numbers[-1] = 1",
        "at character 36: expected an array index, found `-1`",
    );
    cql("SELECT * FROM T_Base WHERE 5", "at character 29: expected a comparison, found the end");
    cql(
        "SELECT * FROM T_Base WHERE #'OK' = 5",
        "at character 28: expected a label next to the property it belongs to, found `#`",
    );
    cql("SELECT Size#'x' FROM T_Base", "at character 12: expected `,` or FROM, found `#`");
    cql(
        "SELECT * FROM T_Base WHERE Name LIKE Name",
        "at character 38: expected a pattern in quotes, found `Name`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name LIKE '*'",
        "at character 38: bad LIKE pattern: `*` has nothing before it to repeat",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name ISA 5",
        "at character 37: expected a class name, found `5`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name != 'x'",
        "at character 33: expected a name, a literal or an operator, found `!`",
    );
    let fql = |text, message| refused(None, text, message);
    fql("blah", "at character 5: expected a comparison or LIKE, found the end");
    fql("NOT Size = 5", "at character 5: expected ANY or EVERY, found `Size`");
    fql("Size IS NULL", "at character 6: expected a comparison or LIKE, found `IS`");
    fql("5 = Size", "at character 1: expected a property, found `5`");
    fql("Tags = {'a',}", "at character 13: expected a literal, found `}`");
    fql("Tags = {'a' 'b'}", "at character 13: expected `,` or `}`, found `'b'`");
    fql("Name = \"x\"", "at character 8: expected a name, a literal or an operator, found `\"`");
    fql("SELECT * FROM T_Base", "at character 1: expected a property, found `SELECT`");
}

#[test]
fn what_we_do_not_do_is_called_so() {
    let cql = |text, feature: &str| {
        let error = parse(Language::Cql, text).expect_err(text);
        assert!(
            matches!(&error, QueryError::Unsupported { feature: found, .. } if *found == feature),
            "{text}: {error}"
        );
    };
    cql("SELECT DISTINCT Name FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT COUNT(*) FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT FIRST 5 Name FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT Numbers[1] FROM T_Base", "an array index in the select list");
    cql("SELECT Name AS n FROM T_Base", "renaming a column");
    cql("SELECT * FROM T_Base, T_Other", "a query over more than one class");
    cql("SELECT * FROM T_Base b, T_Other", "a query over more than one class");
    cql("SELECT * FROM T_Base WHERE Size + 1 = 5", "arithmetic");
    cql("SELECT * FROM T_Base WHERE Size -1 = 5", "arithmetic");
    cql("SELECT * FROM T_Base WHERE 5-3 = Size", "arithmetic");
    cql("SELECT * FROM T_Base WHERE Size = 5 -3.5", "arithmetic");
    cql("SELECT * FROM T_Base WHERE Numbers[*] = 5", "a range of array indices");
    cql("SELECT * FROM T_Base WHERE Numbers[0..1] = 5", "a range of array indices");
    cql("SELECT * FROM T_Base WHERE Name = 'a' || 'b'", "arithmetic");
    cql("SELECT * FROM T_Base WHERE UPPERCASE(Name) = 'A'", "a function call");
    cql("SELECT * FROM T_Base WHERE Active ORDER BY Name", "ordering and grouping");
    cql("SELECT * FROM T_Base ORDER BY Name", "ordering and grouping");
}

#[test]
fn the_schema_finds_what_can_not_be() {
    let cql = |condition: &str, message| {
        refused(Some(Language::Cql), &format!("SELECT * FROM T_Base WHERE {condition}"), message);
    };
    refused(
        Some(Language::Cql),
        "SELECT * FROM T_None",
        "at character 15: there is no class `T_None`",
    );
    refused(
        Some(Language::Cql),
        "SELECT Nope FROM T_Base",
        "at character 8: class `T_Base` has no property `Nope`",
    );
    cql("Extra = 3", "at character 28: class `T_Base` has no property `Extra`");
    cql("Job.T_Job::Target = 'x'", "at character 32: class `T_Job` has no property `Target`");
    cql("Job.T_None::Target = 'x'", "at character 32: there is no class `T_None`");
    cql("Job ISA T_None", "at character 28: there is no class `T_None`");
    cql("Name ISA T_Job", "at character 28: ISA asks for an object, not `Name` (a string)");
    cql("Name = 5", "at character 33: `Name` (a string) can't be compared with `5` (a number)");
    cql("Size = '5'", "at character 33: `Size` (a number) can't be compared with `'5'` (a string)");
    cql(
        "Size = Name",
        "at character 33: `Size` (a number) can't be compared with `Name` (a string)",
    );
    cql(
        "Job.JobState = 'x'",
        "at character 41: `Job.JobState` (a number) can't be compared with `'x'` (a string)",
    );
    cql("Active > FALSE", "at character 35: `>` can't order `Active` (a boolean)");
    cql("Numbers < Numbers", "at character 36: `<` can't order `Numbers` (an array: a number)");
    cql(
        "Numbers = 5",
        "at character 36: `Numbers` (an array: a number) can't be compared with `5` (a number)",
    );
    cql("Size[1] = 5", "at character 28: `Size` is no array");
    cql("Name.Size = 5", "at character 33: `Name` (a string) has no properties");
    cql("Size", "at character 28: `Size` (a number) is no condition");
    cql("Size LIKE '5'", "at character 33: LIKE asks for a string, not `Size` (a number)");
    cql(
        "When = 'yesterday'",
        "at character 35: `'yesterday'` can't be compared with `When` (a datetime)",
    );
    cql("Peer = 'x y'", "at character 35: `'x y'` can't be compared with `Peer` (a reference)");
    cql("Mark = 'xy'", "at character 35: `'xy'` can't be compared with `Mark` (a char16)");
    cql(
        "Job.JobState = #'Finished'",
        "at character 43: property `JobState` has no value labelled `Finished`",
    );
    cql(
        "Job.JobState = #'Vendor'",
        "at character 43: property `JobState` has no value labelled `Vendor`",
    );
    refused(
        None,
        "ANY Name = 'x'",
        "at character 5: ANY and EVERY ask for an array, not `Name` (a string)",
    );
    refused(None, "Tags = {1, 'x'}", "at character 8: an array has elements of one type");
    refused(None, "Nope = 1", "at character 1: class `T_Base` has no property `Nope`");
}

#[test]
fn a_filter_may_name_properties_of_subclasses_and_nothing_else() {
    let check = |text: &str| parse_filter(text).expect("a filter").check(&name("T_Base"), &model());
    assert_eq!(check("Extra = 3"), Ok(()));
    // One that only some instances have does not end the check.
    let error = check("Extra = 3 OR Size = 'x'").expect_err("a number is no string");
    assert!(error.to_string().contains("`Size` (a number)"), "{error}");
    let error = check("Extra = 3 AND Nope = 1").expect_err("nobody has it");
    assert!(error.to_string().contains("has no property `Nope`"), "{error}");
}
