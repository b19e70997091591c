//! What the checks of an instance say, one by one, beside the status that they add up to.

use std::sync::Arc;

/// What one check says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// All is well.
    Passing,
    /// It passes, with a warning.
    Warning,
    /// It fails, or has not said anything yet.
    Critical,
}

impl Standing {
    /// Every standing, the best first.
    pub const ALL: [Self; 3] = [Self::Passing, Self::Warning, Self::Critical];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The standing that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// One check of an instance as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownCheck {
    /// Its name, unique within the instance.
    pub name: Box<str>,
    /// What it says.
    pub standing: Standing,
    /// Why, in one line.
    pub output: Arc<str>,
}

/// All checks of an instance as they are shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ShownChecks(pub Box<[ShownCheck]>);

impl ShownChecks {
    /// The check of this name.
    pub fn find(&self, name: &str) -> Option<&ShownCheck> {
        self.0.iter().find(|one| *one.name == *name)
    }

    /// True when one of them warns and none fails.
    pub fn is_warning(&self) -> bool {
        let worst = |one: &ShownCheck| one.standing;
        self.0.iter().map(worst).any(|one| one == Standing::Warning)
            && self
                .0
                .iter()
                .map(worst)
                .all(|one| one != Standing::Critical)
    }
}
