//! Chat templates are programs of strangers: what they can do, and what they cannot.

use std::time::{Duration, Instant};

use llm_data::{ChatTemplate, Error, Message, Role};

fn render(source: &str) -> Result<String, Error> {
    ChatTemplate::new(source, "<s>", "</s>")?
        .render(&[Message::new(Role::User, "Hi <b>\"ü\"")], true)
}

#[test]
fn endless_templates_end_at_a_limit() {
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = '' ~ (n.s ~ n.s) %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = [n.s, n.s]|join %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s.join([n.s, n.s]) %}{% endfor %}",
        "{% set n = namespace(s='xx') %}{% for i in range(99) %}{% set n.s = n.s|replace('x', n.s) %}{% endfor %}",
        "{% set n = namespace(s='xx') %}{% for i in range(99) %}{% set n.s = n.s.replace('x', n.s) %}{% endfor %}",
        "{% set n = namespace(s='xx') %}{% for i in range(99) %}{% set n.s = '{0}{0}'.format(n.s) %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set x %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = x %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s|list|length }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s|tojson }}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s|string }}",
        "{{ 'x\n'|indent(999999999999) }}",
        "{{ range(9999)|list|tojson(indent=1000000) }}",
        "{{ [1]|batch(900000000, 'x')|list|length }}",
        "{{ [1]|slice(900000000)|list|length }}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% if -1 in l %}{% endif %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% if -1 not in l %}{% endif %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% if -1 is in l %}{% endif %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% if l == l + [1] %}{% endif %}{% endfor %}",
        "{% for a in range(20000) %}{% set l = range(99999)|sort %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% set m = l|max + l|sum %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for a in range(20000) %}{% set m = l|unique(case_sensitive=true) %}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for a in range(20) %}{% set n.s = n.s ~ n.s %}{% endfor %}{% for a in range(50000) %}{% set k = n.s|upper %}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for a in range(20) %}{% set n.s = n.s ~ n.s %}{% endfor %}{% for a in range(50000) %}{% set k = n.s|length %}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for a in range(23) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s|list|length }}",
        "{% set n = namespace(l=[]) %}{% for a in range(20000) %}{% set n.l = [n.l, range(99999)|reverse] %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s == n.s|list }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f('x') }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    ] {
        let start = Instant::now();
        let error = render(source).unwrap_err();
        assert!(
            matches!(error, Error::ChatTemplateLimit { .. }),
            "{source}: {error}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{source}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn what_could_grow_without_a_count_is_refused() {
    for source in [
        "{{ 'x' * 99999999 }}",
        "{{ (1, 2) * 99999999 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '%9999999999s'|format(1) }}",
    ] {
        let error = render(source).unwrap_err();
        assert!(
            matches!(error, Error::ChatTemplateFailed { .. }),
            "{source}: {error}"
        );
    }
    assert!(matches!(
        render(&" ".repeat(2 << 20)),
        Err(Error::ChatTemplateLimit { .. })
    ));
}

#[test]
fn the_bounds_leave_long_conversations_alone() {
    let source = "{% set n = namespace(s='') %}{% for m in messages %}{% set n.s = '<' ~ m.role ~ '>' + m.content %}{{ n.s * 1 if false else n.s }}{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let messages: Vec<Message> = (0..2_000)
        .map(|_| Message::new(Role::User, "x".repeat(2_000)))
        .collect();
    assert_eq!(
        template.render(&messages, false).unwrap().len(),
        2_000 * 2_006
    );
}

#[test]
fn errors_say_where_and_what() {
    assert!(matches!(
        render("a\n{% if %}"),
        Err(Error::ChatTemplateSyntax { line: 2, .. })
    ));
    assert!(matches!(
        render("{% set x = [1"),
        Err(Error::ChatTemplateSyntax { .. })
    ));
    let error = render("a\n{{ 1 | nofilter }}").unwrap_err().to_string();
    assert!(error.contains("nofilter"), "{error}");
    let error = render("{{ messages[5].role.upper() }}").unwrap_err();
    assert!(matches!(error, Error::ChatTemplateFailed { .. }), "{error}");
    let error = render("{{ raise_exception('Only ' ~ 'users') }}").unwrap_err();
    assert!(
        matches!(&error, Error::ChatTemplateRefused { message } if message == "Only users"),
        "{error}"
    );
    let template = ChatTemplate::new("{{ messages[0].role }}", "", "").unwrap();
    assert!(matches!(
        template.render(&[], false),
        Err(Error::ChatTemplateFailed { .. })
    ));
}

#[test]
fn the_dialect_is_that_of_transformers() {
    for (source, expected) in [
        (
            "{{ messages|tojson }}",
            r#"[{"role": "user", "content": "Hi <b>\"ü\""}]"#,
        ),
        (
            "{{ {'b': [1, 2.5, true, none], 'a': {}}|tojson }}",
            r#"{"b": [1, 2.5, true, null], "a": {}}"#,
        ),
        (
            "{{ {'a': [1]}|tojson(indent=2) }}",
            "{\n  \"a\": [\n    1\n  ]\n}",
        ),
        (
            "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, ensure_ascii=false) }}",
            r#"{"a": 2, "b": 1}"#,
        ),
        ("{{ messages[0].content }}", "Hi <b>\"ü\""),
        ("{{ bos_token }}{{ eos_token }}{{ missing }}", "<s></s>"),
        (
            "{% for m in messages %}\n  {% if true %}\n  x\n  {% endif %}\n{% endfor %}",
            "  x\n",
        ),
        ("{% generation %}{{ 'a' }}{% endgeneration %}", "a"),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "13",
        ),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
            "1",
        ),
        (
            "{{ ' a,b '.strip().split(',')[-1] }}{{ 'x'.startswith('x') }}",
            "bTrue",
        ),
        (
            "{% if tools is none and not documents %}{{ tools is defined }}{% endif %}",
            "True",
        ),
        ("{{ 'a\nb\n\nc'|indent(2) }}", "a\n  b\n\n  c"),
        ("{{ 'a\nb'|indent(2, true) }}", "  a\n  b"),
        (
            "{{ messages|map(attribute='role')|join(', ') }}{{ [1, 2]|join }}",
            "user12",
        ),
        (
            "{{ 'aXbX'|replace('X', '-') }}{{ 'aXbX'.replace('X', '-', 1) }}",
            "a-b-a-bX",
        ),
        ("{{ '{}-{}'.format('a', 1) }}", "a-1"),
        ("{{ 2 * 3 + 1 }}{{ 'a' ~ (1 + 2) }}", "7a3"),
        (
            "{% set n = namespace(l=[]) %}{% for i in range(900) %}{% set n.l = n.l + [i] %}{% endfor %}{{ n.l|length }}",
            "900",
        ),
    ] {
        match render(source) {
            Ok(text) => assert_eq!(text, expected, "{source}"),
            Err(error) => panic!("{source}: {error}"),
        }
    }
    assert_eq!(render("{{ strftime_now('%Y-%m-%d') }}").unwrap().len(), 10);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let nested = |use_it: &str| {
        let source = format!(
            "{{% set n = namespace(s=[1]) %}}{{% for i in range(40000) %}}{{% set n.s = [n.s] %}}{{% endfor %}}{use_it}"
        );
        render(&source)
    };
    assert_eq!(nested("x").unwrap(), "x");
    assert_eq!(nested("{{ n.s }}").unwrap().len(), 80_003);
    for use_it in [
        "{{ n.s|tojson }}",
        "{{ n.s == [n.s] }}",
        "{{ n.s ~ '' }}",
        "{{ n.s|string }}",
    ] {
        // Whether it works or is refused: the process goes on.
        let _ = nested(use_it);
    }
    let brackets = format!("{{{{ {}1{} }}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(render(&brackets).is_err());
}
