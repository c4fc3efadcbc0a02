//! The files of FastChat, Vicuna, AlpacaEval, Arena-Hard and BELLE, read record by record and
//! written. Fields that this crate does not know are kept.

mod alpaca;
mod arena_hard;
mod belle;
mod fastchat;
mod format;
mod row;
mod rows;
mod vicuna;

pub use alpaca::{AlpacaAnnotation, AlpacaOutput};
pub use arena_hard::{
    ArenaAnswer, ArenaGame, ArenaJudgment, ArenaJudgmentV01, ArenaJudgmentV20, ArenaMessage,
    ArenaQuestionV01, ArenaQuestionV20, ArenaTurn,
};
pub use belle::{BelleItem, BellePrompt, belle_class};
pub use fastchat::{
    Choice, Judge, JudgePrompt, ModelAnswer, PairJudgment, Question, SingleJudgment,
};
pub use format::{Format, detect, is_own, read_categories};
pub use row::{Id, Place, Row};
pub(super) use row::{take, take_optional};
pub use rows::{Rows, read_rows, write_array, write_rows};
pub use vicuna::{VicunaAnswer, VicunaQuestion, VicunaReview};
