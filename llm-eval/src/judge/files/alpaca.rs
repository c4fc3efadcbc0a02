//! AlpacaEval's outputs and annotations, JSON arrays both.

use super::row::row;

row! {
    /// A model's answer.
    AlpacaOutput {
        /// The instruction.
        instruction: String,
        /// The answer.
        output: String,
        /// The model.
        generator: String,
        ? /// The set that the instruction is from.
        dataset: String,
    }
}

row! {
    /// A comparison of a model's answer with the baseline's.
    AlpacaAnnotation {
        /// The instruction.
        instruction: String,
        /// The model.
        generator_2: String,
        /// From 1 (the baseline's is better) to 2 (the model's is); 0 and 1.5 are draws, `null` is a
        /// failure.
        preference: Option<f64>,
        ? /// The baseline.
        generator_1: String,
        ? /// The baseline's answer.
        output_1: String,
        ? /// The model's answer.
        output_2: String,
        ? /// The annotator.
        annotator: String,
        ? /// The set that the instruction is from.
        dataset: String,
        ? /// What the annotation cost, in dollars.
        price_per_example: f64,
        ? /// How long it took, in seconds.
        time_per_example: f64,
    }
}
