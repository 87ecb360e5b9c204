//! Operations on classes and qualifiers (DSP0200 §5.3.2.1 ff.), and association operations on classes.

use std::{sync::Arc, vec};

use super::{
    association::Yield,
    core::{Core, no_class},
    namespaces::Scope,
};
use crate::{
    cim::{
        AssociationFilter, CimError, CimName, Class, ClassOptions, ClassPath, InstanceOptions,
        Object, Reply, StatusCode,
    },
    query::Query,
    repository::{Reference, Repository},
};

impl Core {
    /// GetClass.
    pub(super) fn get_class(
        &self,
        name: &CimName,
        options: ClassOptions,
    ) -> Result<ClassList, CimError> {
        let class = self.class(name, StatusCode::NotFound)?;
        Ok(self.class_list(vec![class.name.clone()], options))
    }

    /// The class that a query's result has, for QueryResultClass: the one that it asks for, with the
    /// properties that it selects. Results have no methods.
    pub(super) fn result_class(&self, query: &Query) -> Option<Class> {
        let options = ClassOptions {
            local_only: false,
            include_qualifiers: true,
            include_class_origin: false,
            properties: query.selected(),
        };
        let class = self.repository.view(query.from_class(), &options)?;
        Some(Class { methods: Vec::new(), ..class })
    }

    /// EnumerateClasses.
    pub(super) fn enumerate_classes(
        &self,
        below: Option<&CimName>,
        deep: bool,
        options: ClassOptions,
    ) -> Result<ClassList, CimError> {
        Ok(self.class_list(self.class_names(below, deep)?, options))
    }

    fn class_list(&self, names: Vec<CimName>, options: ClassOptions) -> ClassList {
        ClassList { repository: Arc::clone(&self.repository), names: names.into_iter(), options }
    }

    /// EnumerateClassNames.
    pub(super) fn enumerate_class_names(
        &self,
        below: Option<&CimName>,
        deep: bool,
    ) -> Result<Reply, CimError> {
        Ok(Reply::ClassNames(self.class_names(below, deep)?))
    }

    fn class_names(&self, below: Option<&CimName>, deep: bool) -> Result<Vec<CimName>, CimError> {
        let names = self.repository.class_names(below, deep);
        names.ok_or_else(|| {
            let below = below.expect("only a class that is named can be missing");
            no_class(StatusCode::InvalidClass, below)
        })
    }

    /// GetQualifier.
    pub(super) fn get_qualifier(&self, name: &CimName) -> Result<Reply, CimError> {
        let missing =
            || CimError::new(StatusCode::NotFound, format!("Qualifier type not found: {name}"));
        let declaration = self.repository.qualifier(name).ok_or_else(missing)?;
        Ok(Reply::QualifierDeclaration(Box::new(declaration.clone())))
    }

    /// EnumerateQualifiers.
    pub(super) fn enumerate_qualifiers(&self) -> Reply {
        Reply::QualifierDeclarations(self.repository.qualifiers().to_vec())
    }

    /// The classes associated with a class, or the association classes, by their declarations: one
    /// reference refers to the source or a superclass of it, the other one to the answer.
    pub(super) fn class_traversal(
        &self,
        scope: &Scope,
        source: &CimName,
        filter: &AssociationFilter,
        yields: Yield,
        form: &ClassForm,
    ) -> Result<Vec<Object>, CimError> {
        for name in filter.association_class.iter().chain(&filter.result_class).chain([source]) {
            self.class(name, StatusCode::InvalidParameter)?;
        }
        let named = |role: &Option<CimName>, end: &Reference| {
            role.as_ref().is_none_or(|role| *role == end.role)
        };
        let is_a = |class: &CimName, wanted: &Option<CimName>| {
            wanted.as_ref().is_none_or(|wanted| self.repository.is_a(class, wanted))
        };
        let mut found: Vec<&CimName> = Vec::new();
        for near in self.repository.references_to(source) {
            if !named(&filter.role, near) || !is_a(&near.association, &filter.association_class) {
                continue;
            }
            for far in self.repository.references_of(&near.association) {
                if far.role == near.role
                    || !named(&filter.result_role, far)
                    || !is_a(&far.class, &filter.result_class)
                {
                    continue;
                }
                let shown = match yields {
                    Yield::Associators => &far.class,
                    Yield::References => &near.association,
                };
                if !found.contains(&shown) {
                    found.push(shown);
                }
            }
        }
        let object = |name| form.object(self, scope, name);
        Ok(found.into_iter().filter_map(object).collect())
    }
}

/// The classes that GetClass or EnumerateClasses answers with. They are made one by one, as they are
/// sent: all of the DMTF's schema at once would be large.
#[derive(Debug)]
pub struct ClassList {
    repository: Arc<Repository>,
    names: vec::IntoIter<CimName>,
    options: ClassOptions,
}

impl ClassList {
    /// Which elements of the classes are shown.
    pub fn options(&self) -> &ClassOptions {
        &self.options
    }

    /// The name of the next class.
    pub fn next_name(&mut self) -> Option<CimName> {
        self.names.next()
    }

    /// A class that was named by [`ClassList::next_name`].
    pub fn class(&self, name: &CimName) -> Class {
        let class = self.repository.view(name, &self.options);
        class.expect("names of the repository have classes there")
    }
}

/// How an association operation on a class shows classes.
pub(super) enum ClassForm {
    /// Their paths.
    Paths,
    /// The classes, with these elements.
    Classes(ClassOptions),
}

impl ClassForm {
    /// Classes as Associators and References show them.
    pub(super) fn classes(include_qualifiers: bool, options: InstanceOptions) -> Self {
        Self::Classes(ClassOptions {
            local_only: false,
            include_qualifiers,
            include_class_origin: options.include_class_origin,
            properties: options.properties,
        })
    }

    fn object(&self, core: &Core, scope: &Scope, class: &CimName) -> Option<Object> {
        let path = ClassPath {
            host: Some(scope.host.clone()),
            namespace: Some(scope.namespace(scope.space)),
            class: class.clone(),
        };
        Some(match self {
            Self::Paths => Object::ClassPath(path),
            Self::Classes(options) => {
                Object::Class(path, Box::new(core.repository.view(class, options)?))
            }
        })
    }
}

/// Whether the operation of that name changes classes or qualifiers.
pub(super) fn changes_schema(operation: &str) -> bool {
    ["CreateClass", "ModifyClass", "DeleteClass", "SetQualifier", "DeleteQualifier"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(operation))
}

/// The error of such an operation, whatever its parameters are.
pub(super) fn fixed(operation: &str) -> CimError {
    let text = format!("{operation} is not supported: classes are fixed at start");
    CimError::new(StatusCode::NotSupported, text)
}
