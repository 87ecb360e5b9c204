//! Lists of objects behind a hypervisor that goes away, or comes back, while they are made.

use super::ProviderError;

/// Whether what a search asks for could be reached.
///
/// A hypervisor that cannot be reached has no objects: where it never could be, the list is empty and
/// that is no error. Where something was found, the list would just be shorter than the truth, and a
/// client would take what is missing for deleted.
#[derive(Debug, Default)]
pub(super) struct Reach {
    found: bool,
    missed: Option<String>,
}

impl Reach {
    /// Something was found.
    ///
    /// # Errors
    /// If something else was missed before.
    pub(super) fn found(&mut self) -> Result<(), ProviderError> {
        self.found = true;
        self.judge()
    }

    /// Something could not be reached.
    ///
    /// # Errors
    /// If something else was found before.
    pub(super) fn missed(&mut self, reason: String) -> Result<(), ProviderError> {
        self.missed = Some(reason);
        self.judge()
    }

    /// What a provider's search has ended with.
    ///
    /// # Errors
    /// Its own, unless nothing could be reached.
    pub(super) fn ended(&mut self, result: Result<(), ProviderError>) -> Result<(), ProviderError> {
        match result {
            Err(ProviderError::Unreachable(reason)) => self.missed(reason),
            result => result,
        }
    }

    fn judge(&self) -> Result<(), ProviderError> {
        match &self.missed {
            Some(reason) if self.found => {
                Err(ProviderError::Failed(format!("the list is incomplete: {reason}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Result<(), ProviderError> {
        Err(ProviderError::Unreachable("gone".to_owned()))
    }

    fn incomplete() -> Result<(), ProviderError> {
        Err(ProviderError::Failed("the list is incomplete: gone".to_owned()))
    }

    #[test]
    fn what_was_never_there_leaves_an_empty_list() {
        let mut reach = Reach::default();
        assert_eq!(reach.ended(unreachable()), Ok(()));
        assert_eq!(reach.ended(Ok(())), Ok(()));
        assert_eq!(reach.ended(unreachable()), Ok(()));
    }

    #[test]
    fn what_goes_away_or_comes_back_breaks_the_list() {
        let mut reach = Reach::default();
        assert_eq!(reach.found(), Ok(()));
        assert_eq!(reach.ended(Ok(())), Ok(()));
        assert_eq!(reach.ended(unreachable()), incomplete());
        let mut reach = Reach::default();
        assert_eq!(reach.ended(unreachable()), Ok(()));
        assert_eq!(reach.found(), incomplete());
    }

    #[test]
    fn other_errors_are_what_they_are() {
        let failed = Err(ProviderError::Failed("broken".to_owned()));
        assert_eq!(Reach::default().ended(failed.clone()), failed);
    }
}
