//! Judges, their judgments, the files these are kept in, and the figures computed from them.
//!
//! - [`Judge`] judges single answers, answers by a rubric, or pairs; [`Judgments`] are read, written
//!   and replayed: their [`Figures`] come from the rows alone.
//! - [`Panel`] is what several judges say together; [`self_preference`] warns of judges that judge
//!   their own family; [`Calibration`] compares judges with people, and corrects their figures.
//! - A [`Standing`] is how a model fares against all others.
//! - [`Audit`] tries a judge with probes whose right verdict is known.

mod alternatives;
mod audit;
mod calibration;
mod case;
mod difference;
mod estimates;
mod export;
mod family;
mod fastchat;
mod figures;
pub mod files;
mod forms;
mod games;
mod human;
mod input;
mod judgment;
mod panel;
mod prompts;
mod ratings;
pub mod replay;
mod run;
mod schema;
mod standings;
mod task;

pub use audit::{Audit, AuditReport, Probe, ProbeResult};
pub use calibration::{Calibration, Corrected, PairCalibration, ScoreCalibration};
pub use difference::Difference;
pub use family::{SelfPreference, families, self_preference};
pub use figures::{Comparisons, Expected, Figures, PairFigures, ScoreFigures, Scores};
pub use games::Game;
pub use human::{HumanLabel, Opinion, read_labels};
pub use input::{read_answers, read_questions};
pub use judgment::{Judged, Judgment, Judgments, Order, Unscored};
pub use panel::{JudgeErrors, Panel, PanelComparison, PanelScore, PanelTruth};
pub use prompts::Prompts;
pub use ratings::{LengthControlledPair, RatingFigures, StyleFigures};
pub use run::Judge;
pub use standings::Standing;
pub use task::{Answers, Criterion, Mode, Pairing, Question, References, Turns};
pub(crate) use task::{check_models, check_questions};
