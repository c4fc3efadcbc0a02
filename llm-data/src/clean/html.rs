//! HTML to Markdown, and what ShareGPT's pages leave in the texts.

mod tags;

use std::borrow::Cow;
use std::sync::LazyLock;

use htmd::HtmlToMarkdown;
use htmd::options::{BulletListMarker, Options};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::record::Conversation;

use super::verdict::{Found, Verdict, beginning};

/// Which messages are HTML.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HtmlWhen {
    /// Those with an HTML element and without a Markdown code fence; others stay as they are.
    #[default]
    Found,
    /// All, as FastChat takes them: white space is collapsed and `*` escaped in plain text too.
    Always,
}

/// Options of [`Step::Html`](super::Step).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Html {
    /// Which messages are converted.
    pub when: HtmlWhen,
}

impl Html {
    /// Converts the messages; drops a conversation whose HTML is out of bounds: elements in more
    /// than 200 levels, over 10 000 tags, or so many unclosed ones that a browser would make
    /// millions of them.
    pub(super) fn apply(&self, conversation: &mut Conversation) -> Verdict {
        let mut changes = Vec::new();
        for message in &mut conversation.messages {
            let text = &message.content;
            let is_html = match self.when {
                HtmlWhen::Found => !text.contains("```") && tags::contains_element(text),
                HtmlWhen::Always => true,
            };
            if !is_html {
                continue;
            }
            let markdown = to_markdown(text).map_err(|reason| {
                let text = beginning(text);
                Found::new(reason, text)
            })?;
            if markdown != *text {
                changes.push(Found::new("html", beginning(text)));
                message.content = markdown;
            }
        }
        Ok(changes)
    }
}

/// Levels of elements; the converter descends by recursion.
const DEPTH: usize = 200;
/// Nodes of the tree.
const NODES: usize = 100_000;

/// The text as Markdown; or why it cannot be.
fn to_markdown(text: &str) -> std::result::Result<String, &'static str> {
    let html = tags::simplify(text).ok_or("html_too_complex")?;
    let options = Options {
        bullet_list_marker: BulletListMarker::Asterisk,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let converter = HtmlToMarkdown::builder().options(options).build();
    let tree = converter
        .html_to_tree(&html)
        .map_err(|_| "html_too_complex")?;
    let (mut nodes, mut level, mut depth) = (0, vec![tree.clone()], 0);
    while !level.is_empty() {
        nodes += level.len();
        depth += 1;
        if depth > DEPTH {
            return Err("html_too_deep");
        }
        if nodes > NODES {
            return Err("html_too_complex");
        }
        level = level
            .iter()
            .flat_map(|node| node.children.borrow().clone())
            .collect();
    }
    Ok(converter.tree_to_markdown(&tree).trim().to_owned())
}

struct Leftovers {
    code: Regex,
    counter: Regex,
    copy_characters: Regex,
    empty_block: Regex,
}

/// FastChat's patterns. None only if one were wrong, which a test excludes.
static LEFTOVERS: LazyLock<Option<Leftovers>> = LazyLock::new(|| {
    Some(Leftovers {
        code: Regex::new(r"(?s)```\s*(.*?)(?:Copy code)+(.+?)\s*?```").ok()?,
        counter: Regex::new(r"\A\d+ / \d+").ok()?,
        copy_characters: Regex::new(r"Copy\d+ chars / \d+ words").ok()?,
        empty_block: Regex::new(r"```(.*?)Copy code\s*```").ok()?,
    })
});

/// Removes the labels of ShareGPT's buttons and counters, as FastChat's `clean_sharegpt.py` does:
/// "Copy code" in a code block (what stands before is its language), "2 / 3" in front, "Copy3 chars
/// / 2 words", empty code blocks; three line ends become one.
pub(super) fn strip_leftovers(conversation: &mut Conversation) -> Verdict {
    let Some(patterns) = &*LEFTOVERS else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for message in &mut conversation.messages {
        let text = message.content.trim();
        let text = replace_copied(&patterns.code, text, "```${1}\n${2}\n```");
        let text = patterns.counter.replace(&text, "");
        let text = replace_copied(&patterns.copy_characters, &text, "");
        let text = replace_copied(&patterns.empty_block, &text, "");
        let text = text.replace("\n\n\n", "\n");
        let text = text.trim();
        if text != message.content {
            changes.push(Found::new("leftover", beginning(&message.content)));
            message.content = text.to_owned();
        }
    }
    Ok(changes)
}

/// The text with `by` for what a pattern finds that has "Copy" in it, as few texts have.
fn replace_copied<'t>(pattern: &Regex, text: &'t str, by: &str) -> Cow<'t, str> {
    match text.contains("Copy") {
        true => pattern.replace_all(text, by),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::{Message, Role};

    fn run(step: impl Fn(&mut Conversation) -> Verdict, text: &str) -> String {
        let mut conversation = Conversation::default();
        conversation.messages.push(Message::new(Role::User, text));
        match step(&mut conversation) {
            Ok(_) => conversation.messages.remove(0).content,
            Err(found) => format!("! {}", found.reason),
        }
    }

    fn html(text: &str) -> String {
        run(|conversation| Html::default().apply(conversation), text)
    }

    #[test]
    fn elements_become_markdown() {
        assert_eq!(
            html("<p>A <strong>b</strong> <em>c</em></p><ul><li>x</li><li>y</li></ul>"),
            "A **b** *c*\n\n* x\n* y"
        );
        assert_eq!(html("<ol><li><p>x</p></li><li>y</li></ol>"), "1. x\n\n2. y");
        assert_eq!(html("<p>a &lt;b&gt; &amp; c</p>"), "a \\<b> & c");
        assert_eq!(
            html("<a href=\"https://a.b/c\">d</a><br>e"),
            "[d](https://a.b/c)  \ne"
        );
    }

    #[test]
    fn sharegpts_code_block_is_a_fence_with_its_language() {
        let page = "<div class=\"x\"><p>Try:</p><pre><div class=\"a\"><div><span>python</span>\
                    <button>Copy code</button></div><div><code class=\"hljs\">\
                    <span class=\"k\">def</span> f():\n    <span>return</span> a_b * 2 &lt; 3\n\
                    </code></div></div></pre><p>Done.</p></div>";
        let step = |conversation: &mut Conversation| {
            Html::default().apply(conversation)?;
            strip_leftovers(conversation)
        };
        assert_eq!(
            run(step, page),
            "Try:\n\n```python\ndef f():\n    return a_b * 2 < 3\n```\n\nDone."
        );
    }

    #[test]
    fn what_is_no_html_stays() {
        for text in [
            "a < b and  c > d",
            "Vec<String> and <T>",
            "**x** _y_\n\n\n* z",
            "```html\n<p>x</p>\n```",
            "use `<p>` here? <",
            "&lt;p&gt;",
        ] {
            assert_eq!(html(text), text);
        }
        // Beside HTML too: what is no element is text.
        assert_eq!(html("<p>Vec<String></p>"), "Vec\\<String>");
    }

    #[test]
    fn leftovers_of_the_page_go() {
        let strip = |text: &str| run(strip_leftovers, text);
        assert_eq!(strip("2 / 3\n\nHello"), "Hello");
        assert_eq!(strip("Hello 2 / 3"), "Hello 2 / 3");
        assert_eq!(strip("aCopy12 chars / 3 wordsb"), "ab");
        assert_eq!(
            strip("a\n```\npythonCopy codex = 1\n```"),
            "a\n```python\nx = 1\n```"
        );
        assert_eq!(strip("a ```Copy code``` b"), "a  b");
        assert_eq!(strip("a\n\n\nb"), "a\nb");
    }

    #[test]
    fn html_beyond_bounds_is_refused_and_not_followed() {
        assert_eq!(html(&"<b>".repeat(5000)), "! html_too_complex");
        assert_eq!(html(&"<blockquote>".repeat(5000)), "! html_too_deep");
        assert_eq!(html(&"<p>x</p>".repeat(100_000)), "! html_too_complex");
        let text = "<".repeat(1_000_000);
        assert_eq!(html(&format!("<p>{text}</p>")), text);
    }
}
