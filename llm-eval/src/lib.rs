//! Evaluation's place in the workspace. It holds nothing yet: the evaluation loss of a training run
//! is `llm_lora::evaluate`.
