//! The namespaces and the names by which clients know them.

use crate::cim::{CimError, Namespace, StatusCode};

/// A namespace. Classes are the same everywhere; each instance lives in one of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Space {
    /// `root/virt`: hosts, guests, services.
    Virt,
    /// `root/interop`: what the server says about itself, and subscriptions.
    Interop,
    /// `root/cimv2`, where old clients begin to follow associations.
    Cimv2,
}

impl Space {
    /// Every namespace.
    pub const ALL: [Self; 3] = [Self::Virt, Self::Interop, Self::Cimv2];

    /// The name under which it is advertised.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The names that discovery finds: those that clients look for and then expect among the
    /// namespaces. Old programs have Pegasus' name of the interop namespace built in; whoever looks
    /// for namespaces should not see the same objects a third time.
    pub fn advertised(self) -> &'static [&'static str] {
        let names = self.names();
        &names[..names.len().min(2)]
    }

    /// Its name and its aliases: discovery tries all of these for the interop namespace, and cimtest
    /// subscribes in Pegasus' one.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Virt => &["root/virt"],
            Self::Interop => &["root/interop", "interop", "root/PG_InterOp"],
            Self::Cimv2 => &["root/cimv2"],
        }
    }

    /// The namespace of that name, whatever its case.
    ///
    /// # Errors
    /// INVALID_NAMESPACE, naming those there are.
    pub fn find(name: &Namespace) -> Result<Self, CimError> {
        let matches =
            |space: &Self| space.names().iter().any(|it| it.eq_ignore_ascii_case(name.as_str()));
        Self::ALL.into_iter().find(matches).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            let text = format!("Invalid namespace `{name}`: there are {known}");
            CimError::new(StatusCode::InvalidNamespace, text)
        })
    }
}

/// Where a request looks, and how paths in its answer are written.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The target namespace.
    pub(super) space: Space,
    /// The host of the paths we return, as the client addressed us.
    pub(super) host: String,
    /// The target namespace as the client wrote it, so that paths agree with its other requests.
    named: Namespace,
}

impl Scope {
    /// The scope of a request to `namespace` of `host`.
    pub(super) fn new(namespace: &Namespace, host: &str) -> Result<Self, CimError> {
        let space = Space::find(namespace)?;
        Ok(Self { space, host: host.to_owned(), named: namespace.clone() })
    }

    /// How paths in that namespace name it.
    pub(super) fn namespace(&self, space: Space) -> Namespace {
        if space == self.space {
            self.named.clone()
        } else {
            Namespace::parse(space.name()).expect("our namespace names are well-formed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<Space>) {
        let namespace = Namespace::parse(name).expect("a namespace name");
        assert_eq!(Space::find(&namespace).ok(), expected, "{name}");
    }

    #[test]
    fn namespaces_are_found_by_any_of_their_names_in_any_case() {
        check("root/virt", Some(Space::Virt));
        check("/ROOT//Virt/", Some(Space::Virt));
        check("interop", Some(Space::Interop));
        check("root/interop", Some(Space::Interop));
        check("root/PG_Interop", Some(Space::Interop));
        check("Root/CIMv2", Some(Space::Cimv2));
        check("root", None);
        check("root/virt/x", None);
    }

    #[test]
    fn an_unknown_namespace_is_named_in_the_error() {
        let error = Space::find(&Namespace::parse("root/nope").unwrap()).unwrap_err();
        assert_eq!(error.status, StatusCode::InvalidNamespace);
        assert!(error.description.contains("root/nope"), "{error}");
    }

    #[test]
    fn paths_name_the_target_namespace_as_the_client_does_and_others_by_their_own_name() {
        let scope = Scope::new(&Namespace::parse("interop").unwrap(), "h:5988").unwrap();
        assert_eq!(scope.namespace(Space::Interop).as_str(), "interop");
        assert_eq!(scope.namespace(Space::Virt).as_str(), "root/virt");
    }
}
