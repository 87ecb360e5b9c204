//! Checks documents against the DTD (DSP0203) as pywbem and wbemcli enforce it: every unknown
//! attribute or child spoils a reply for them. Written down here once more, apart from the code
//! under test.

use quick_xml::events::Event;

/// An element's name, its required and optional attributes, and its content in [`matches_model`]'s
/// notation.
type Element = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);

const PROPERTY: &[&str] = &["TYPE", "CLASSORIGIN", "PROPAGATED", "EmbeddedObject"];
const FLAVOR: &[&str] = &["PROPAGATED", "OVERRIDABLE", "TOSUBCLASS", "TOINSTANCE", "TRANSLATABLE"];

#[rustfmt::skip]
const DTD: &[Element] = &[
    ("CIM", &["CIMVERSION", "DTDVERSION"], &[], "MESSAGE"),
    ("MESSAGE", &["ID", "PROTOCOLVERSION"], &[], "SIMPLEREQ|SIMPLERSP|SIMPLEEXPREQ"),
    ("SIMPLEREQ", &[], &[], "IMETHODCALL|METHODCALL"),
    ("SIMPLERSP", &[], &[], "IMETHODRESPONSE|METHODRESPONSE"),
    ("SIMPLEEXPREQ", &[], &[], "EXPMETHODCALL"),
    ("EXPMETHODCALL", &["NAME"], &[], "EXPPARAMVALUE*"),
    ("EXPPARAMVALUE", &["NAME"], &[], "INSTANCE?"),
    ("IMETHODCALL", &["NAME"], &[], "LOCALNAMESPACEPATH,IPARAMVALUE*"),
    ("IPARAMVALUE", &["NAME"], &[], "VALUE|VALUE.ARRAY|VALUE.REFERENCE|CLASSNAME|INSTANCENAME|QUALIFIER.DECLARATION|CLASS|INSTANCE|VALUE.NAMEDINSTANCE?"),
    ("METHODCALL", &["NAME"], &[], "LOCALCLASSPATH|LOCALINSTANCEPATH,PARAMVALUE*"),
    ("PARAMVALUE", &["NAME"], &["PARAMTYPE", "EmbeddedObject"], "VALUE|VALUE.REFERENCE|VALUE.ARRAY|VALUE.REFARRAY|CLASS?"),
    ("IMETHODRESPONSE", &["NAME"], &[], "ERROR?,IRETURNVALUE?,PARAMVALUE*"),
    ("METHODRESPONSE", &["NAME"], &[], "ERROR?,RETURNVALUE?,PARAMVALUE*"),
    ("ERROR", &["CODE", "DESCRIPTION"], &[], ""),
    ("RETURNVALUE", &["PARAMTYPE"], &["EmbeddedObject"], "VALUE|VALUE.REFERENCE?"),
    ("IRETURNVALUE", &[], &[], "CLASSNAME|INSTANCENAME|INSTANCEPATH|VALUE|VALUE.OBJECTWITHPATH|VALUE.INSTANCEWITHPATH|VALUE.NAMEDINSTANCE|OBJECTPATH|QUALIFIER.DECLARATION|VALUE.ARRAY|VALUE.REFERENCE|CLASS|INSTANCE*"),
    ("VALUE.NAMEDINSTANCE", &[], &[], "INSTANCENAME,INSTANCE"),
    ("VALUE.INSTANCEWITHPATH", &[], &[], "INSTANCEPATH,INSTANCE"),
    ("VALUE.OBJECTWITHPATH", &[], &[], "CLASSPATH|INSTANCEPATH,CLASS|INSTANCE"),
    ("OBJECTPATH", &[], &[], "INSTANCEPATH|CLASSPATH"),
    ("INSTANCEPATH", &[], &[], "NAMESPACEPATH,INSTANCENAME"),
    ("LOCALINSTANCEPATH", &[], &[], "LOCALNAMESPACEPATH,INSTANCENAME"),
    ("CLASSPATH", &[], &[], "NAMESPACEPATH,CLASSNAME"),
    ("LOCALCLASSPATH", &[], &[], "LOCALNAMESPACEPATH,CLASSNAME"),
    ("NAMESPACEPATH", &[], &[], "HOST,LOCALNAMESPACEPATH"),
    ("LOCALNAMESPACEPATH", &[], &[], "NAMESPACE+"),
    ("NAMESPACE", &["NAME"], &[], ""),
    ("CLASSNAME", &["NAME"], &[], ""),
    ("HOST", &[], &[], "#"),
    ("INSTANCENAME", &["CLASSNAME"], &[], "KEYBINDING|KEYVALUE|VALUE.REFERENCE*"),
    ("KEYBINDING", &["NAME"], &[], "KEYVALUE|VALUE.REFERENCE"),
    ("KEYVALUE", &["VALUETYPE"], &["TYPE"], "#"),
    ("VALUE", &[], &[], "#"),
    ("VALUE.NULL", &[], &[], ""),
    ("VALUE.ARRAY", &[], &[], "VALUE|VALUE.NULL*"),
    ("VALUE.REFERENCE", &[], &[], "CLASSPATH|LOCALCLASSPATH|CLASSNAME|INSTANCEPATH|LOCALINSTANCEPATH|INSTANCENAME"),
    ("VALUE.REFARRAY", &[], &[], "VALUE.REFERENCE|VALUE.NULL*"),
    ("INSTANCE", &["CLASSNAME"], &[], "PROPERTY|PROPERTY.ARRAY|PROPERTY.REFERENCE*"),
    ("CLASS", &["NAME"], &["SUPERCLASS"], "QUALIFIER*,PROPERTY|PROPERTY.ARRAY|PROPERTY.REFERENCE*,METHOD*"),
    ("PROPERTY", &["NAME"], PROPERTY, "QUALIFIER*,VALUE?"),
    ("PROPERTY.ARRAY", &["NAME"], &["TYPE", "CLASSORIGIN", "PROPAGATED", "EmbeddedObject", "ARRAYSIZE"], "QUALIFIER*,VALUE.ARRAY?"),
    ("PROPERTY.REFERENCE", &["NAME"], &["REFERENCECLASS", "CLASSORIGIN", "PROPAGATED"], "QUALIFIER*,VALUE.REFERENCE?"),
    ("METHOD", &["NAME", "TYPE"], &["CLASSORIGIN", "PROPAGATED"], "QUALIFIER*,PARAMETER|PARAMETER.ARRAY|PARAMETER.REFERENCE|PARAMETER.REFARRAY*"),
    ("PARAMETER", &["NAME", "TYPE"], &[], "QUALIFIER*"),
    ("PARAMETER.ARRAY", &["NAME", "TYPE"], &["ARRAYSIZE"], "QUALIFIER*"),
    ("PARAMETER.REFERENCE", &["NAME"], &["REFERENCECLASS"], "QUALIFIER*"),
    ("PARAMETER.REFARRAY", &["NAME"], &["REFERENCECLASS", "ARRAYSIZE"], "QUALIFIER*"),
    ("QUALIFIER", &["NAME", "TYPE"], FLAVOR, "VALUE|VALUE.ARRAY?"),
    ("QUALIFIER.DECLARATION", &["NAME", "TYPE"], &["ISARRAY", "ARRAYSIZE", "OVERRIDABLE", "TOSUBCLASS", "TOINSTANCE", "TRANSLATABLE"], "SCOPE?,VALUE|VALUE.ARRAY?"),
    ("SCOPE", &[], &["CLASS", "ASSOCIATION", "REFERENCE", "PROPERTY", "METHOD", "PARAMETER", "INDICATION"], ""),
];

/// The only elements whose short empty form every client reads.
const MAY_BE_SHORT: [&str; 3] = ["NAMESPACE", "CLASSNAME", "ERROR"];

/// An element that is open: its row, its children so far, whether it has had text.
struct Open {
    element: &'static Element,
    children: Vec<String>,
}

/// Panics if the document is not what the DTD describes.
#[track_caller]
pub(super) fn check(document: &[u8]) {
    let text = std::str::from_utf8(document).unwrap();
    let fail = |what: String| -> ! { panic!("{what} in {text}") };
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>"), "{text}");
    loop {
        let event = reader.read_event().unwrap_or_else(|error| fail(error.to_string()));
        let (tag, is_short) = match &event {
            Event::Start(tag) => (tag, false),
            Event::Empty(tag) => (tag, true),
            Event::End(_) => {
                let Open { element, children } = open.pop().unwrap();
                let children: Vec<&str> = children.iter().map(String::as_str).collect();
                if !matches_model(element.3, &children) {
                    fail(format!("<{}> holds {children:?}", element.0));
                }
                continue;
            }
            Event::Text(_) | Event::GeneralRef(_) => {
                match open.last() {
                    Some(parent) if parent.element.3 == "#" => {}
                    None => {}
                    Some(parent) => fail(format!("text in <{}>", parent.element.0)),
                }
                continue;
            }
            Event::Decl(_) => continue,
            Event::Eof => break,
            other => fail(format!("{other:?}")),
        };
        let name = tag.name().0;
        let Some(element) = DTD.iter().find(|element| element.0 == name) else {
            fail(format!("<{name}> is unknown"))
        };
        let present: Vec<String> =
            tag.attributes().map(|attribute| attribute.unwrap().key.0.to_owned()).collect();
        if let Some(missing) = element.1.iter().find(|&&name| !present.iter().any(|it| it == name))
        {
            fail(format!("<{name}> lacks {missing}"));
        }
        let known = |it: &str| element.1.contains(&it) || element.2.contains(&it);
        if let Some(unknown) = present.iter().find(|it| !known(it)) {
            fail(format!("<{name}> has {unknown}"));
        }
        if let Some(parent) = open.last_mut() {
            parent.children.push(name.to_owned());
        }
        if !is_short {
            open.push(Open { element, children: Vec::new() });
        } else if !MAY_BE_SHORT.contains(&name) {
            fail(format!("<{name}/> is short"));
        }
    }
    assert!(open.is_empty(), "{text}");
}

/// Whether the children fit a model: groups separated by commas, each alternatives separated by
/// bars, which `?`, `*` or `+` at the end of a group says how often to expect; `#` is text.
fn matches_model(model: &str, children: &[&str]) -> bool {
    let mut rest = children;
    for group in model.split(',').filter(|group| !group.is_empty()) {
        let names = group.trim_end_matches(['?', '*', '+']);
        let known = |child: &&&str| names.split('|').any(|name| name == **child);
        let run = rest.iter().take_while(known).count();
        let taken = match &group[names.len()..] {
            "*" => run,
            "+" if run > 0 => run,
            "?" => run.min(1),
            "" if run > 0 || group == "#" => run.min(1),
            _ => return false,
        };
        rest = &rest[taken..];
    }
    rest.is_empty()
}
