//! Judges, their judgments, the files these are kept in, and the figures computed from them.
//!
//! - [`Judge`] judges single answers, answers by a rubric, or pairs; [`Judgments`] are read, written
//!   and replayed: their [`Figures`] come from the rows alone.
//! - [`Panel`] is what several judges say together; [`self_preference`] warns of judges that judge
//!   their own family.
//! - A [`Standing`] is how a model fares against all others.
//! - [`Audit`] tries a judge with probes whose right verdict is known.

mod alternatives;
mod audit;
mod case;
mod family;
mod fastchat;
mod figures;
pub mod files;
mod forms;
mod games;
mod judgment;
mod panel;
mod prompts;
pub mod replay;
mod run;
mod schema;
mod task;

pub use audit::{Audit, AuditReport, Probe, ProbeResult};
pub use family::{SelfPreference, families, self_preference};
pub use figures::{Comparisons, Expected, Figures, PairFigures, ScoreFigures, Scores};
pub use games::Game;
pub use judgment::{Judged, Judgment, Judgments, Order, Unscored};
pub use panel::{Panel, PanelComparison, PanelScore};
pub use prompts::Prompts;
pub use run::Judge;
pub use standings::Standing;
pub use task::{
    Answers, Criterion, Mode, Pairing, Question, References, Turns, read_answers, read_questions,
};
pub(crate) use task::{check_models, check_questions};
