//! llm-eval
