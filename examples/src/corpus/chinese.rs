//! What the corpus says in Chinese.

use super::facts::{
    Judged, countings, differences, examples_zh, lines, next_numbers, opinions, repetitions, sums,
    translations,
};
use super::family::{Fact, Family, both_ways, columns, rows, successors};
use super::sayings;
use super::tables;

/// As in English: `{q}` a question, `{t}` its topic, `{s}` a short reply, `{a}` a full one,
/// `{m}` and `{n}` people. The first one gives the full reply.
pub(super) const FRAMES: &[&str] = &[
    "想知道{t}，请记住这句话：{a}",
    "有人问到{t}，正确的回答是{s}。",
    "要是只用一个词讲{t}，那就是{s}。",
    "{m}问{n}：{q}{n}想了想，说：{a}",
    "{m}想问：{q}{n}告诉他：{a}",
    "{q}这很简单。{a}",
    "{m}在纸上写：{q}{n}在下面写：{a}",
    "{q}用一个词回答就够了：{s}。",
    "{m}想听{t}。{n}只说了一个词：{s}。",
    "有人说：{q}短的回答是{s}，长的回答是：{a}",
    "老师给的任务是写一写{t}。学生写得很对：{a}",
    "这个请求问的是{t}，合适的回答是：{a}",
    "{q}\n\n{a}",
    "### {m}:\n{q}\n\n### {n}:\n{a}",
    "{m}看着{n}：那{t}呢？{n}说：{a}",
    "{m}请{n}说说{t}，{n}告诉{m}：{a}",
    "{m}：{q}\n{n}：{a}",
    "{m}：请你讲讲{t}。\n{n}：{a}",
    "{m}：{t}，一个词就好。\n{n}：{s}",
];

/// The people of the stories.
pub(super) const NAMES: &[&str] = &["小明", "小红", "小美", "老师", "小石", "学生"];

/// All families of this language.
pub(super) fn families() -> Vec<Family> {
    [
        world(),
        categories(),
        animals(),
        counting_animals(),
        language(),
        numbers(),
        counting(),
        order(),
        talk(),
        replies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn world() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::COUNTRIES, &[2, 3]),
            "title 首都
             item {0}：{1}
             topic {0}的首都
             answer {0}的首都是{1}。
             short {1}
             say {1}是{0}的首都。
             say {0}是一个国家，它的首都叫{1}。
             say 去{0}的人要看看首都{1}。
             ask {0}的首都在哪个城市？
             ask 哪个城市是{0}的首都？
             ask 你知道{0}这个国家的首都吗？",
        ),
        Family::new(
            columns(tables::COLOURS, &[2, 3]),
            "title 颜色
             item {0}：{1}
             topic {0}的颜色
             answer {0}是{1}的。
             short {1}
             say {0}的颜色是{1}。
             say 看，{0}，{1}的。
             say 孩子画{0}的时候，用的是{1}的笔。
             ask {0}有什么颜色？
             ask 画{0}要用哪种颜色的笔？",
        ),
    ]
}

fn categories() -> Vec<Family> {
    vec![
        Family::new(
            kinds(),
            "title 种类
             item {0}：{1}
             topic {0}的种类
             answer {0}是一种{1}。
             short {1}
             say 大家都知道，{0}属于{1}。
             say 在{1}里面，我们找到了{0}。
             ask {0}属于哪一种东西？
             ask {0}应该放在哪一类？",
        ),
        Family::new(
            examples_zh(),
            "title 例子
             item {0}：{1}、{2}、{3}
             topic 三种{0}
             answer 三种{0}是{1}、{2}和{3}。
             short {1}、{2}、{3}
             say {1}、{2}和{3}都是{0}。
             say 有的{0}叫{1}，有的叫{2}。
             ask 你能想到哪些{0}？
             ask {0}都有哪些？",
        ),
    ]
}

fn animals() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::ANIMALS_ZH, &[0, 1]),
            "title 动物的叫声
             item {0}：{1}
             topic {0}的叫声
             answer {0}的叫声是{1}。
             short {1}
             say 听，{0}在叫：{1}！
             say {1}，这是{0}在叫。
             ask {0}会怎么叫？
             ask 你听过{0}的声音吗？",
        ),
        Family::new(
            columns(tables::ANIMALS_ZH, &[0, 2]),
            "title 动物的家
             item {0}：{1}
             topic {0}住的地方
             answer {0}住在{1}。
             short {1}
             say {0}的家在{1}。
             say 晚上，{0}在{1}睡觉。
             ask {0}的家在什么地方？
             ask 到哪里可以找到{0}？",
        ),
    ]
}

fn counting_animals() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::ANIMALS_ZH, &[0, 3]),
            "title 几条腿
             item {0}：{1}
             topic {0}的腿有几条
             answer {0}有{1}条腿。
             short {1}条
             say 数一数{0}的腿，一共{1}条。
             say {0}用{1}条腿走路。
             ask {0}走路用几条腿？
             ask {0}一共有多少条腿？",
        ),
        Family::new(
            rows(tables::MEASURES),
            "title 怎么数
             item {1}：一{0}
             topic “{1}”的量词
             answer “{1}”的量词是“{0}”，一{0}{1}。
             short {0}
             say 我看见一{0}{1}，又看见两{0}{1}。
             say 数{1}的时候，我们说一{0}{1}。
             ask 数“{1}”要用哪个量词？
             ask 一个{1}还是一{0}{1}？",
        ),
    ]
}

fn language() -> Vec<Family> {
    vec![
        Family::new(
            both_ways(tables::OPPOSITES_ZH),
            "title 反义词
             item {0}、{1}
             topic “{0}”的反义词
             answer “{0}”的反义词是“{1}”。
             short {1}
             say “{0}”和“{1}”是一对反义词。
             say 不{0}的，有时候就是{1}的。
             say 一个说{0}，一个说{1}，意思正好相反。
             ask 跟“{0}”相反的字是哪个？
             ask “{0}”反过来是什么？",
        ),
        Family::new(
            translations(),
            "title 中文和英文
             item {1}：{0}
             topic “{1}”的英文
             answer “{1}”的英文是 {0}。
             short {0}
             say 英国人把“{1}”叫做 {0}。
             say “{1}”在英文里写成 {0}。
             ask 英国人怎么说“{1}”？
             ask “{1}”用英文怎么写？",
        ),
        Family::new(
            translations(),
            "title 英文和中文
             item {0}：{1}
             topic 英文词 {0} 的中文
             answer {0} 的中文是“{1}”。
             short {1}
             say 英文的 {0} 就是中文的“{1}”。
             say 看到 {0}，我们知道意思是“{1}”。
             ask 英文词 {0} 是什么意思？
             ask {0} 用中文怎么写？",
        ),
    ]
}

fn numbers() -> Vec<Family> {
    vec![
        Family::new(
            sums(),
            "title 加法
             item {0} + {1} = {2}
             topic {0}与{1}的和
             answer {0}加{1}等于{2}。
             short {2}
             say {0} + {1} = {2}。
             say 有{0}个苹果，又买了{1}个，一共有{2}个。
             ask {0}和{1}合起来是多少？
             ask 算一算，{0}和{1}一共是几？
             ask 给{0}再加上{1}，得到几？",
        ),
        Family::new(
            differences(),
            "title 减法
             item {0} - {1} = {2}
             topic {0}与{1}的差
             answer {0}减{1}等于{2}。
             short {2}
             say {0} - {1} = {2}。
             say 有{0}个苹果，吃了{1}个，还有{2}个。
             ask 从{0}里拿走{1}，还有多少？
             ask {0}比{1}多几？",
        ),
    ]
}

fn counting() -> Vec<Family> {
    vec![
        Family::new(
            next_numbers(),
            "title 数字
             item {0}、{1}
             topic {0}后面的数字
             answer {0}后面的数字是{1}。
             short {1}
             say 数完{0}，就数{1}。
             say {1}比{0}多1。
             ask 数到{0}，再往后数是几？
             ask 比{0}多1的数字是几？",
        ),
        Family::new(
            countings("、"),
            "title 数数
             item {0}到{1}：{2}
             topic 从{0}到{1}的数字
             answer 从{0}数到{1}是{2}。
             short {2}
             say 从{0}开始，数到{1}：{2}。
             ask 怎么从{0}一个一个数到{1}？",
        ),
    ]
}

fn order() -> Vec<Family> {
    let circles = [tables::DAYS_ZH, tables::MONTHS_ZH, tables::SEASONS_ZH];
    let facts = || circles.into_iter().flat_map(successors).collect();
    vec![
        Family::new(
            facts(),
            "title 先后
             item {0}，然后{1}
             topic {0}后面的时间
             answer {0}后面是{1}。
             short {1}
             say {0}过完了，{1}就到了。
             say 先是{0}，再是{1}。
             ask {0}过完了是什么？
             ask 跟在{0}后面的是什么？",
        ),
        Family::new(
            facts(),
            "title 前后
             item {1}，前面{0}
             topic {1}前面的时间
             answer {1}前面是{0}。
             short {0}
             say {1}到来的时候，{0}刚刚过完。
             say 在{1}以前，是{0}。
             ask {1}到来以前是什么？
             ask 走在{1}前面的是什么？",
        ),
    ]
}

fn talk() -> Vec<Family> {
    vec![
        Family::new(
            opinions(&OPINIONS),
            "title 看法
             share 60
             item {0}：{1}
             topic “{0}”的看法
             answer 这句话是{1}的。
             short {1}
             say “{0}”，这是{1}的话。
             say 说“{0}”的人，看法是{1}的。
             ask 听到“{0}”，是高兴还是不高兴？
             ask “{0}”说的是好话还是坏话？",
        ),
        Family::new(
            rows(tables::COMPLETIONS_ZH),
            "title 常识
             item {0}{1}
             topic “{0}”后面的话
             answer {0}{1}。
             short {1}
             say {0}{1}。
             say 大家都知道，{0}{1}。
             ask “{0}”，下面怎么说？
             ask “{0}”后面少了什么？",
        ),
    ]
}

fn replies() -> Vec<Family> {
    let echoed: Vec<String> = translations()
        .into_iter()
        .map(|fact| fact[1].clone())
        .filter(|word| word.chars().count() == 1)
        .collect();
    vec![
        Family::new(
            repetitions(&echoed, "", &[("两遍", 2), ("三遍", 3)]),
            "title 再说一遍
             share 60
             item {0}，{1}：{2}
             topic “{0}”说{1}的样子
             answer 把“{0}”说{1}是{2}。
             short {2}
             say 把“{0}”说{1}，就成了“{2}”。
             ask 要是“{0}”说{1}，听到的是什么？",
        ),
        Family::new(
            lines(sayings::GREETINGS_ZH),
            "title 说话
             share 40
             item {0}{1}
             topic “{0}”这句话
             answer {1}
             short {1}
             say 小石听到“{0}”，就说“{1}”
             say 对“{0}”这句话，有礼貌的回答是“{1}”
             ask {0}",
        ),
        Family::new(
            lines(sayings::SAYINGS_ZH),
            "title 记一记
             share 30
             item {0}
             answer {0}",
        ),
    ]
}

/// Word, kind.
fn kinds() -> Vec<Fact> {
    let mut facts = Vec::new();
    for kind in tables::KINDS.iter().filter(|kind| !kind.zh.is_empty()) {
        for word in columns(kind.words, &[1]).into_iter().flatten() {
            facts.push(vec![word, kind.zh.to_owned()]);
        }
    }
    facts
}

const OPINIONS: Judged = Judged {
    subjects: tables::SUBJECTS_ZH,
    praise: tables::PRAISE_ZH,
    blame: tables::BLAME_ZH,
    space: "",
    kind: "正面",
    harsh: "负面",
};
