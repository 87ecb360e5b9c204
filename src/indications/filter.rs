//! What a filter must be: a query in a language we speak, about indications of the schema.

use super::{SubscriptionError, complete_keys, required, unset};
use crate::{
    cim::{CimName, Instance, Value},
    query::{self, Language, QueryError},
    repository::Repository,
};

/// The class of all indications: what a query without FROM is about.
const INDICATION: CimName = CimName::literal("CIM_Indication");

/// Completes a new or changed filter, if it follows the rules.
pub(super) fn complete(
    mut filter: Instance,
    system: &str,
    repository: &Repository,
    limits: &query::Limits,
) -> Result<Instance, SubscriptionError> {
    complete_keys(&mut filter, system)?;
    // Filters are subscribed to one by one: there are no collections and no templates.
    unset(&filter, "TemplateVariable")?;
    let individual = filter.value(&CimName::literal("IndividualSubscriptionSupported"));
    if individual.and_then(Value::as_bool) == Some(false) {
        return Err(SubscriptionError::Unsupported {
            property: "IndividualSubscriptionSupported FALSE",
        });
    }
    let (language, text) = (required(&filter, "QueryLanguage")?, required(&filter, "Query")?);
    check_query(language.trim(), text, repository, limits)?;
    Ok(filter)
}

fn check_query(
    language: &str,
    text: &str,
    repository: &Repository,
    limits: &query::Limits,
) -> Result<(), SubscriptionError> {
    if query::Filter::is_language(language) {
        let filter = query::Filter::parse(text, limits).map_err(SubscriptionError::Query)?;
        return match filter.check(&INDICATION, repository) {
            // A subclass may have it; where none has, it is NULL.
            Ok(()) | Err(QueryError::UnknownProperty { .. }) => Ok(()),
            Err(error) => Err(SubscriptionError::Query(error)),
        };
    }
    let Some(language) = Language::from_name(language) else {
        let language = language.escape_debug().take(64).collect();
        return Err(SubscriptionError::Language(language));
    };
    let query = query::parse(language, text, limits).map_err(SubscriptionError::Query)?;
    query.check(repository).map_err(SubscriptionError::Query)?;
    let from = query.from_class();
    if *from != INDICATION && !repository.is_a(from, &INDICATION) {
        return Err(SubscriptionError::NoIndication(from.clone()));
    }
    Ok(())
}
