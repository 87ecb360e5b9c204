//! The languages as a whole: what they accept, what it means, and what they refuse and where.

mod limits;
mod properties;
mod refusals;

use super::*;
use crate::cim::{
    CimType, DataType, DateTime, Embedded, Flavor, ObjectPath, PropertyDeclaration, Qualifier,
    Scalar, Value,
};

/// A base class, one subclass, and classes to embed.
struct Model(Vec<Class>);

impl Schema for Model {
    fn class(&self, name: &CimName) -> Option<&Class> {
        self.0.iter().find(|class| class.name == *name)
    }

    fn is_declared_below(&self, class: &CimName, property: &CimName) -> bool {
        let below = |it: &&Class| it.name != *class && self.is_a(&it.name, class);
        self.0.iter().filter(below).any(|it| it.property(property).is_some())
    }
}

fn parse(language: Language, text: &str) -> Result<Query, QueryError> {
    super::parse(language, text, &Limits::default())
}

fn parse_filter(text: &str) -> Result<Filter, QueryError> {
    Filter::parse(text, &Limits::default())
}

fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

fn property(text: &str, ty: DataType, qualifiers: Vec<(&str, Value)>) -> PropertyDeclaration {
    let qualifiers = qualifiers.into_iter().map(|(qualifier, value)| Qualifier {
        name: name(qualifier),
        ty: CimType::String,
        value: Some(value),
        flavor: Flavor::default(),
        propagated: false,
    });
    PropertyDeclaration {
        name: name(text),
        ty,
        default: None,
        qualifiers: qualifiers.collect(),
        class_origin: None,
        propagated: false,
    }
}

fn class(text: &str, superclass: Option<&str>, properties: Vec<PropertyDeclaration>) -> Class {
    Class {
        name: name(text),
        superclass: superclass.map(name),
        qualifiers: Vec::new(),
        properties,
        methods: Vec::new(),
    }
}

fn strings(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Some(Scalar::from(*text))).collect())
}

fn job_properties() -> Vec<PropertyDeclaration> {
    let state = [
        ("Values", strings(&["New", "Running", "Completed", "Vendor"])),
        ("ValueMap", strings(&["2", "4", "7", "32768..65535"])),
    ];
    vec![
        property("InstanceID", DataType::scalar(CimType::String), vec![]),
        property("JobState", DataType::scalar(CimType::Uint16), state.into()),
    ]
}

fn model() -> Model {
    let embedded = |class| {
        let ty =
            DataType { embedded: Some(Embedded::Instance), ..DataType::scalar(CimType::String) };
        (ty, vec![("EmbeddedInstance", Value::from(class))])
    };
    let (job, job_qualifiers) = embedded("T_Job");
    let object = DataType { embedded: Some(Embedded::Object), ..DataType::scalar(CimType::String) };
    let base = vec![
        property("Name", DataType::scalar(CimType::String), vec![]),
        property("Size", DataType::scalar(CimType::Uint32), vec![]),
        property("Rate", DataType::scalar(CimType::Real32), vec![]),
        property("Ratio", DataType::scalar(CimType::Real64), vec![]),
        property("Active", DataType::scalar(CimType::Boolean), vec![]),
        property("When", DataType::scalar(CimType::DateTime), vec![]),
        property("Span", DataType::scalar(CimType::DateTime), vec![]),
        property("Mark", DataType::scalar(CimType::Char16), vec![]),
        property("Peer", DataType::scalar(CimType::Reference), vec![]),
        property("Nothing", DataType::scalar(CimType::String), vec![]),
        property("Numbers", DataType::array(CimType::Uint16), vec![]),
        property("Tags", DataType::array(CimType::String), vec![]),
        property(
            "Level",
            DataType::scalar(CimType::Uint8),
            vec![("Values", strings(&["low", "high"]))],
        ),
        property("Job", job, job_qualifiers),
        property("Before", object, vec![]),
    ];
    let mut derived = base.clone();
    derived.push(property("Extra", DataType::scalar(CimType::Uint8), vec![]));
    let mut migration = job_properties();
    migration.push(property("Target", DataType::scalar(CimType::String), vec![]));
    Model(vec![
        class("T_Base", None, base),
        class("T_Derived", Some("T_Base"), derived),
        class("T_Job", None, job_properties()),
        class("T_MigrationJob", Some("T_Job"), migration),
        class("T_Other", None, vec![property("Plain", DataType::scalar(CimType::String), vec![])]),
    ])
}

fn job(state: u16) -> Instance {
    Instance::new(name("T_MigrationJob"))
        .with(name("InstanceID"), "j1")
        .with(name("JobState"), state)
        .with(name("Target"), "hostb")
}

fn instance() -> Instance {
    let peer = ObjectPath::parse("root/virt:T_Other.Name=\"x\",N=1").expect("a path");
    let mut numbers = Value::from(vec![4u16, 5, 7]);
    if let Value::Array(elements) = &mut numbers {
        elements.push(None);
    }
    let mark = Value::Scalar(Scalar::Char16('é' as u16));
    Instance::new(name("T_Derived"))
        .with(name("Name"), "Test")
        .with(name("Size"), 25u32)
        .with(name("Rate"), 20.9f32)
        .with(name("Ratio"), 0.1f64)
        .with(name("Active"), true)
        .with(name("When"), DateTime::parse("20261123120000.000000+060").expect("a datetime"))
        .with(name("Span"), DateTime::parse("00000000000500.000000:000").expect("a datetime"))
        .with(name("Mark"), mark)
        .with(name("Peer"), Value::Scalar(Scalar::Reference(Box::new(peer))))
        .with(name("Numbers"), numbers)
        .with(name("Tags"), strings(&["zero", "one"]))
        .with(name("Level"), 1u8)
        .with(name("Job"), job(7))
        .with(name("Extra"), 3u8)
}

#[track_caller]
fn holds(condition: &str, expected: Option<bool>) {
    let (model, instance) = (model(), instance());
    for language in [Language::Cql, Language::Wql] {
        let text = format!("SELECT * FROM T_Base WHERE {condition}");
        let query = parse(language, &text).expect(condition);
        query.check(&model).expect(condition);
        assert_eq!(query.matches(&instance, &model), expected, "{language:?} {condition}");
    }
}

#[test]
fn conditions_are_evaluated_in_three_values() {
    holds("Size = 25", Some(true));
    holds("25 = Size AND NOT Size <> 25", Some(true));
    holds("Size < 25.5 AND Size > 24.999 AND Size >= 0x19 AND Size <= 11001b", Some(true));
    holds("Size = -25", Some(false));
    holds("Rate = 20.9 AND 20.9 = Rate", Some(true));
    holds("Ratio = .1 AND Ratio < 1.e0", Some(true));
    holds("Name = 'Test'", Some(true));
    holds("Name = 'test'", Some(false));
    holds("Name > 'Tes' AND Name <> Tags[0]", Some(true));
    holds("Active", Some(true));
    holds("NOT Active OR Active = FALSE", Some(false));
    holds("Nothing = 'x'", None);
    holds("NOT Nothing = 'x'", None);
    holds("Nothing = 'x' OR Size = 25", Some(true));
    holds("Nothing = 'x' AND Size = 25", None);
    holds("Nothing = 'x' AND Size = 26", Some(false));
    holds("Nothing <> 'x' OR Size = 26", None);
    holds("Nothing IS NULL AND Name IS NOT NULL", Some(true));
    holds("Size = 1 OR Size = 25 AND Active", Some(true));
    holds("(Size = 1 OR Size = 25) AND NOT Active", Some(false));
    holds("NOT (Size = 25) OR NOT NOT Active", Some(true));
}

#[test]
fn datetimes_meet_datetimes_and_text() {
    holds("When = '20261123110000.000000+000'", Some(true));
    holds("When = '2026-11-23T12:00:00+01:00'", Some(true));
    holds("When < '2027-01-01T00:00:00Z'", Some(true));
    holds("Span > '00000000000459.999999:000'", Some(true));
    holds("Span = When", None);
    // Unknown fields stand for a span of time: what lies in it is neither before nor behind it.
    holds("When > '2025**********.******+000'", Some(true));
    holds("NOT When < '2025**********.******+000'", Some(true));
    holds("When <> '2025**********.******+000'", Some(true));
    holds("When < '20261124******.******+000'", Some(true));
    holds("When <> '20261123******.******+000'", None);
    holds("When <= '20261123******.******+000'", None);
}

#[test]
fn references_arrays_and_chars_are_compared() {
    holds("Peer = 't_other.n=1,name=\"x\"'", Some(true));
    holds("Peer <> 'root/other:T_Other.Name=\"x\",N=1'", Some(true));
    holds("Mark = 'é'", Some(true));
    holds("Numbers[1] = 5", Some(true));
    holds("Numbers[3] IS NULL AND Numbers[9] IS NULL", Some(true));
    holds("Numbers[9] = 5", None);
    holds("Numbers = Numbers", Some(true));
    holds("Tags <> Tags", Some(false));
}

#[test]
fn embedded_instances_are_stepped_into() {
    holds("Job ISA T_Job AND Job ISA T_MigrationJob", Some(true));
    holds("Job ISA T_Other OR Before ISA T_Job", Some(false));
    holds("T_Base ISA T_Derived AND T_Base.Job.JobState = 7", Some(true));
    holds("Job.JobState <> Before.JobState", None);
    holds("Job.Target = 'hostb'", Some(true));
    holds("Job.T_MigrationJob::Target = 'hostb'", Some(true));
    holds("T_Derived::Extra = 3", Some(true));
    holds("Job.T_Other::Plain IS NULL", Some(true));
    holds("Job.NoSuch = 5", None);
    holds("Job = Job", Some(true));
    holds("Peer ISA T_Other", Some(true));
}

#[test]
fn labels_stand_for_their_values() {
    holds("Job.JobState = #'Completed'", Some(true));
    holds("Job.JobState = T_Base.Job.JobState#'Completed'", Some(true));
    holds("#'Running' < Job.JobState", Some(true));
    holds("Level = #'high'", Some(true));
}

#[test]
fn like_follows_the_language() {
    let (model, instance) = (model(), instance());
    let like = |language, pattern: &str| {
        let query = parse(language, &format!("SELECT * FROM T_Base WHERE Name LIKE {pattern}"));
        query.expect("a query").matches(&instance, &model)
    };
    assert_eq!(like(Language::Cql, "'T.*t'"), Some(true));
    assert_eq!(like(Language::Cql, "'T%'"), Some(false));
    assert_eq!(like(Language::Wql, "\"T%\""), Some(true));
    assert_eq!(like(Language::Wql, "'T.*'"), Some(false));
    holds("Nothing LIKE 'x'", None);
    holds("Name NOT LIKE 'x'", Some(true));
}

#[test]
fn wql_has_its_own_ways() {
    let (model, instance) = (model(), instance());
    let wql = |condition: &str| {
        let query = parse(Language::Wql, &format!("select * from t_base where {condition}"));
        query.expect(condition).matches(&instance, &model)
    };
    assert_eq!(wql("Name = \"Test\" and Size != 26"), Some(true));
    assert_eq!(wql("Name = \"Te\"\"st\""), Some(false));
    assert_eq!(wql("Active IS TRUE"), Some(true));
    assert_eq!(wql("Nothing = 'x' IS NOT TRUE"), Some(true));
    assert_eq!(wql("(Nothing = 'x') IS FALSE"), Some(false));
    assert_eq!(wql("Size = 25 IS NOT FALSE IS TRUE"), Some(true));
}

#[track_caller]
fn filter(text: &str, expected: Option<bool>) {
    let (model, instance) = (model(), instance());
    let filter = parse_filter(text).expect(text);
    assert_eq!(filter.matches(&instance, &model), expected, "{text}");
}

#[test]
fn fql_knows_null_and_asks_arrays() {
    filter("Size = 25 AND (Name = 'Test' OR Name = 'x')", Some(true));
    filter("Numbers = {4, 5, 7, NULL}", Some(true));
    filter("Numbers <> {4, 5}", Some(true));
    filter("Numbers = {}", Some(false));
    filter("Tags = {'zero', 'one'}", Some(true));
    filter("ANY Numbers = 7", Some(true));
    filter("ANY Numbers = Size", Some(false));
    filter("NOT ANY Numbers = 99", Some(true));
    filter("EVERY Tags <> 'two'", Some(true));
    filter("NOT EVERY Tags = 'one'", Some(true));
    filter("ANY Tags LIKE 'z.*'", Some(true));
    filter("EVERY Tags NOT LIKE 'z.*'", Some(false));
    filter("Name LIKE 'T...' AND Name NOT LIKE '.est.'", Some(true));
    filter("Nothing = NULL", Some(true));
    filter("Nothing <> NULL", Some(false));
    filter("Name <> NULL", Some(true));
    filter("NoSuch = 3", Some(false));
    filter("NoSuch <> 3", Some(true));
    filter("NoSuch <= 'blah'", None);
    filter("Job.JobState = 7", Some(true));
    filter("ANY Nothing = 7", None);
    filter("size = 0X19", Some(true));
}

#[test]
fn another_class_does_not_match() {
    let (model, instance) = (model(), instance());
    let matches = |text| parse(Language::Cql, text).expect(text).matches(&instance, &model);
    assert_eq!(matches("SELECT * FROM T_Derived"), Some(true));
    assert_eq!(matches("SELECT * FROM T_Other"), Some(false));
    assert_eq!(matches("SELECT * FROM T_Unheard"), Some(false));
}

#[track_caller]
fn project(columns: &str, expected: &[&str]) -> Instance {
    let model = model();
    let query = parse(Language::Cql, &format!("SELECT {columns} FROM T_Base b")).expect(columns);
    query.check(&model).expect(columns);
    let left = query.project(instance(), &model);
    let names: Vec<&str> = left.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, expected, "{columns}");
    left
}

#[test]
fn the_select_list_decides_what_is_left() {
    project("Size, b.name, T_Base.Size", &["Name", "Size"]);
    project("T_Derived::Extra, T_Other::Plain", &["Extra"]);
    assert_eq!(
        project(
            "*",
            &[
                "Name", "Size", "Rate", "Ratio", "Active", "When", "Span", "Mark", "Peer",
                "Numbers", "Tags", "Level", "Job", "Extra"
            ]
        ),
        instance()
    );
    assert_eq!(
        project(
            "Size, b.*",
            &[
                "Name", "Size", "Rate", "Ratio", "Active", "When", "Span", "Mark", "Peer",
                "Numbers", "Tags", "Level", "Job", "Extra"
            ]
        ),
        instance()
    );
    let job_name = name("Job");
    let embedded = |columns| {
        let left = project(columns, &["Job"]);
        let job = left.value(&job_name).and_then(Value::as_instance).expect("embedded").clone();
        job.properties.iter().map(|property| property.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(embedded("Job.JobState"), ["JobState"]);
    assert_eq!(embedded("Job.JobState, Job.T_MigrationJob::Target"), ["JobState", "Target"]);
    assert_eq!(embedded("Job.JobState, Job"), ["InstanceID", "JobState", "Target"]);
    assert_eq!(embedded("Job.*"), ["InstanceID", "JobState", "Target"]);
    assert_eq!(embedded("Job.T_Other::Plain"), [""; 0]);
}

#[test]
fn languages_have_names() {
    assert_eq!(Language::from_name("WQL"), Some(Language::Wql));
    assert_eq!(Language::from_name("cim:cql"), Some(Language::Cql));
    assert_eq!(Language::from_name("DMTF:CQL"), Some(Language::Cql));
    assert_eq!(Language::from_name("DMTF:FQL"), None);
    assert_eq!(Language::from_name(""), None);
    assert!(Filter::is_language("DMTF:FQL") && !Filter::is_language("WQL"));
    for language in [Language::Wql, Language::Cql] {
        assert_eq!(Language::from_name(language.name()), Some(language));
    }
}
