//! Classes as they are sent, kept for those who ask for them again: the schema does not change, and to
//! shape and write a class takes longer than to send it.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    cim::{CimName, ClassOptions},
    ops::ClassList,
    xml::{EmbeddedArrays, encode_class},
};

/// Encoded classes, by class and by what of it is shown; of a client's choice of properties none.
#[derive(Debug)]
pub(super) struct ClassTexts {
    /// How many bytes are kept. When there would be more, all are forgotten: what is asked for again
    /// soon stands there again.
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    texts: HashMap<Key, Bytes>,
    bytes: usize,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Key {
    class: CimName,
    local_only: bool,
    include_qualifiers: bool,
    include_class_origin: bool,
    arrays: EmbeddedArrays,
}

impl Key {
    /// `None` if the client has chosen properties.
    fn new(class: &CimName, options: &ClassOptions, arrays: EmbeddedArrays) -> Option<Self> {
        let ClassOptions { local_only, include_qualifiers, include_class_origin, properties } =
            options;
        properties.is_none().then(|| Self {
            class: class.clone(),
            local_only: *local_only,
            include_qualifiers: *include_qualifiers,
            include_class_origin: *include_class_origin,
            arrays,
        })
    }
}

impl ClassTexts {
    /// Keeps so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// The next class of the list, encoded.
    pub(super) fn next(&self, list: &mut ClassList, arrays: EmbeddedArrays) -> Option<Bytes> {
        let name = list.next_name()?;
        let encode = || Bytes::from(encode_class(&list.class(&name), arrays));
        let Some(key) = Key::new(&name, list.options(), arrays) else { return Some(encode()) };
        if let Some(text) = self.kept().texts.get(&key) {
            return Some(text.clone());
        }
        // Two who ask at the same time both encode, which does no harm.
        let text = encode();
        self.keep(key, text.clone());
        Some(text)
    }

    fn keep(&self, key: Key, text: Bytes) {
        if text.len() > self.limit {
            return;
        }
        let mut kept = self.kept();
        if kept.bytes + text.len() > self.limit {
            drop(mem::take(&mut *kept));
        }
        kept.bytes += text.len();
        if let Some(same) = kept.texts.insert(key, text) {
            kept.bytes -= same.len();
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A panic cannot leave it half changed in a way that matters: texts are right or not there.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        cim::{Namespace, Operation, Request},
        ops::{Answer, Context, Limits, Operations, Principal, Registry, Role},
        repository::Repository,
    };

    /// The list that GetClass answers with.
    async fn class(class: &str, options: ClassOptions) -> ClassList {
        let limits = Limits::default();
        let operations = Operations::new(Repository::builtin(), Registry::default(), limits);
        let ctx = Context {
            principal: Principal { name: "x".to_owned(), role: Role::Viewer },
            peer: "unix:1".to_owned(),
            host: "vm".to_owned(),
            cancelled: CancellationToken::new(),
        };
        let operation = Operation::GetClass { class: CimName::parse(class).unwrap(), options };
        let namespace = Namespace::parse("root/virt").unwrap();
        match operations.execute(&ctx, Request { namespace, operation }).await {
            Answer::Classes(list) => list,
            Answer::Whole(_) | Answer::Stream(..) => panic!("no class"),
        }
    }

    const SETTINGS: &str = "CIM_SettingData";

    async fn text(texts: &ClassTexts, options: ClassOptions, arrays: EmbeddedArrays) -> Bytes {
        let mut list = class(SETTINGS, options).await;
        let text = texts.next(&mut list, arrays).expect("one class");
        assert_eq!(texts.next(&mut list, arrays), None);
        text
    }

    /// Every choice of flags.
    fn choices() -> impl Iterator<Item = (ClassOptions, EmbeddedArrays)> {
        (0..16).map(|bits| {
            let options = ClassOptions {
                local_only: bits & 1 > 0,
                include_qualifiers: bits & 2 > 0,
                include_class_origin: bits & 4 > 0,
                properties: None,
            };
            (options, if bits & 8 > 0 { EmbeddedArrays::Told } else { EmbeddedArrays::Untold })
        })
    }

    fn fresh(options: &ClassOptions, arrays: EmbeddedArrays) -> Vec<u8> {
        let name = CimName::parse(SETTINGS).unwrap();
        encode_class(&Repository::builtin().view(&name, options).unwrap(), arrays)
    }

    #[tokio::test]
    async fn each_choice_of_flags_is_encoded_once() {
        let texts = ClassTexts::new(1 << 20);
        for (options, arrays) in choices() {
            let first = text(&texts, options.clone(), arrays).await;
            assert_eq!(first, fresh(&options, arrays), "{options:?} {arrays:?}");
            let again = text(&texts, options.clone(), arrays).await;
            assert_eq!(again.as_ptr(), first.as_ptr(), "{options:?} {arrays:?}");
        }
        let kept = texts.kept();
        assert_eq!(kept.texts.len(), 16);
        assert_eq!(kept.bytes, kept.texts.values().map(Bytes::len).sum::<usize>());
    }

    #[tokio::test]
    async fn a_choice_of_properties_is_not_kept() {
        let texts = ClassTexts::new(1 << 20);
        let properties = Some(vec![CimName::literal("InstanceID")]);
        let (whole, _) = choices().nth(2).expect("there are 16");
        let options = ClassOptions { properties, ..whole };
        let found = text(&texts, options.clone(), EmbeddedArrays::Told).await;
        assert_eq!(found, fresh(&options, EmbeddedArrays::Told));
        assert!(texts.kept().texts.is_empty());
    }

    #[tokio::test]
    async fn no_more_is_kept_than_the_limit_allows() {
        let (largest, arrays) = choices().nth(14).expect("there are 16");
        let limit = fresh(&largest, arrays).len() * 2;
        let texts = ClassTexts::new(limit);
        for (options, arrays) in choices().chain(choices()) {
            assert_eq!(text(&texts, options.clone(), arrays).await, fresh(&options, arrays));
            assert!((1..=limit).contains(&texts.kept().bytes));
        }
        let none = ClassTexts::new(10);
        assert_eq!(text(&none, largest.clone(), arrays).await, fresh(&largest, arrays));
        assert!(none.kept().texts.is_empty());
    }
}
