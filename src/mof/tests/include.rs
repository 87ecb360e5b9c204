//! Texts that include others.

use super::*;

/// Texts by name; what they include is named as written.
struct Shelf(HashMap<String, String>);

impl Loader for Shelf {
    fn find(&mut self, _from: &str, name: &str) -> Result<String, String> {
        Ok(name.to_owned())
    }

    fn read(&mut self, full_name: &str) -> Result<std::borrow::Cow<'static, str>, String> {
        self.0.get(full_name).cloned().map(Into::into).ok_or_else(|| "it is not there".to_owned())
    }
}

fn include(texts: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mut shelf =
        Shelf(texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
    read(&texts[..1], &mut shelf)
        .map(|read| read.classes.iter().map(|class| class.name.to_string()).collect())
        .map_err(|error| error.to_string())
}

#[test]
fn included_texts_come_where_they_are_included_and_once() {
    let classes = include(&[
        (
            "main",
            "#PRAGMA Locale (\"en_US\")\nclass A {}; #pragma include (\"b\") class C {};\n\
                  #pragma include(\"b\") #pragma unheard (\"of\")",
        ),
        ("b", "class B {};"),
    ]);
    assert_eq!(classes, Ok(vec!["A".to_owned(), "B".to_owned(), "C".to_owned()]));
}

#[test]
fn what_can_t_be_included_is_named() {
    assert_eq!(
        include(&[("main", "\n #pragma include (\"x\")")]),
        Err("main:2:2: can't include `x`: it is not there".to_owned())
    );
    let circle =
        [("main", "#pragma include (\"b\")"), ("b", "class B {}; #pragma include (\"main\")")];
    assert_eq!(include(&circle), Err("b:1:13: `main` includes itself: main → b → main".to_owned()));
    let chain: Vec<(String, String)> = (0..=MAX_INCLUDE_DEPTH + 1)
        .map(|n| (n.to_string(), format!("#pragma include (\"{}\")", n + 1)))
        .collect();
    let chain: Vec<_> = chain.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert_eq!(
        include(&chain),
        Err("32:1:1: include files are nested more than 32 deep".to_owned())
    );
    assert_eq!(
        read(&[("a.mof", "#pragma include (\"x\")")], &mut NoIncludes).err().map(|e| e.to_string()),
        Some("a.mof:1:1: can't include `x`: nothing can be included here".to_owned())
    );
    assert_eq!(
        include(&[("main", "#pragma include (\"b\")"), ("b", "class")]),
        Err("b:1:6: expected the name of the class, found the end of the text".to_owned())
    );
}
