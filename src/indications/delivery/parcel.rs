//! One indication for one subscription.

use std::sync::Arc;

use super::{Event, route::Compiled};
use crate::{
    cim::Instance,
    indications::{Identity, Objects, subscription},
    repository::Repository,
    store::ObjectKind,
    xml::{self, DecodeError},
};

/// An indication on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) subscription: Identity,
    /// When the subscription was made: its namesakes do not get what it was meant for.
    pub(super) made: Arc<str>,
    pub(super) content: Content,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Content {
    /// What the filter leaves of an event, which is shared with all others that it is for.
    Event { event: Arc<Event>, filter: Arc<Compiled> },
    /// What an earlier daemon left, as text.
    Kept(String),
}

impl Parcel {
    /// Whether somebody still waits for it.
    pub(super) fn is_wanted(&self, objects: &Objects) -> bool {
        let found = objects.get(ObjectKind::Subscription, &self.subscription);
        found
            .is_some_and(|it| subscription::is_enabled(it) && subscription::made(it) == &*self.made)
    }

    /// Whether an earlier daemon left it.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.content, Content::Kept(_))
    }

    /// The indication, without its place in the sequence.
    ///
    /// # Errors
    /// [`DecodeError`] if what was kept is damaged.
    pub(super) fn indication(&self, schema: &Repository) -> Result<Instance, DecodeError> {
        match &self.content {
            Content::Event { event, filter } => Ok(filter.select(event, schema)),
            Content::Kept(text) => {
                xml::embedded::decode_instance(text, &xml::Limits::for_replies())
            }
        }
    }

    /// The same as text, to be kept.
    pub(super) fn text(&self, schema: &Repository) -> String {
        match &self.content {
            Content::Event { event, filter } => {
                xml::embedded::encode_instance(&filter.select(event, schema))
            }
            Content::Kept(text) => text.clone(),
        }
    }
}
