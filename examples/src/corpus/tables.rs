//! The facts of the small world: rows are separated by line ends or `|`, cells by spaces; `_` in a
//! cell stands for a space, a cell that is only `_` for "none".

/// Country, capital; the same in Chinese or `_`.
pub(super) const COUNTRIES: &str = "
France Paris 法国 巴黎 | Japan Tokyo 日本 东京 | China Beijing 中国 北京
England London 英国 伦敦 | Germany Berlin 德国 柏林 | Italy Rome 意大利 罗马
Spain Madrid _ _ | Russia Moscow 俄国 莫斯科 | Egypt Cairo 埃及 开罗
Greece Athens _ _ | South_Korea Seoul 韩国 首尔 | Thailand Bangkok _ _
Vietnam Hanoi 越南 河内 | Cuba Havana 古巴 哈瓦那 | Peru Lima _ _
Poland Warsaw _ _ | Norway Oslo _ _ | Kenya Nairobi _ _
Canada Ottawa _ _ | Ireland Dublin _ _ | Portugal Lisbon _ _
Sweden Stockholm _ _ | Finland Helsinki _ _ | Denmark Copenhagen _ _ | Austria Vienna _ _
Hungary Budapest _ _ | Belgium Brussels _ _ | Turkey Ankara _ _ | Iran Tehran _ _
Iraq Baghdad _ _ | Nepal Kathmandu _ _ | Chile Santiago _ _ | Ghana Accra _ _
Mongolia Ulaanbaatar _ _ | Romania Bucharest _ _ | Bulgaria Sofia _ _ | Scotland Edinburgh _ _
Wales Cardiff _ _ | Australia Canberra _ _ | Morocco Rabat _ _
";

/// Pairs of opposite words; each row is used in both directions.
pub(super) const OPPOSITES_EN: &str = "
hot cold | big small | tall short | fast slow | old young | happy sad | day night | up down
left right | open closed | full empty | rich poor | hard soft | wet dry | dark light | near far
early late | clean dirty | strong weak | thick thin | high low | good bad | true false | loud quiet
first last | inside outside | sweet bitter | cheap expensive | always never
wide narrow | deep shallow | sharp blunt | easy difficult | brave afraid | love hate
begin end | win lose | buy sell | push pull | give take | come go | laugh cry
";

/// Pairs of opposite words in Chinese; each row is used in both directions.
pub(super) const OPPOSITES_ZH: &str = "
大 小 | 高 低 | 长 短 | 快 慢 | 冷 热 | 新 旧 | 多 少 | 早 晚 | 黑 白 | 上 下 | 左 右 | 前 后
里 外 | 开 关 | 好 坏 | 轻 重 | 远 近 | 干 湿 | 明 暗 | 深 浅 | 软 硬 | 真 假
进 出 | 买 卖 | 来 去 | 哭 笑 | 东 西 | 南 北 | 天 地 | 爱 恨 | 有 无 | 甜 苦
";

/// Thing, colour; the same in Chinese or `_`. An English cell starting with `the_` keeps its article.
pub(super) const COLOURS: &str = "
snow white 雪 白色 | grass green 草 绿色 | the_sky blue 天空 蓝色 | the_sun yellow 太阳 黄色
blood red _ _ | coal black _ _ | milk white 牛奶 白色 | a_banana yellow 香蕉 黄色
a_strawberry red 草莓 红色 | a_cucumber green 黄瓜 绿色 | the_sea blue 大海 蓝色 | wood brown 木头 棕色
a_crow black _ _ | a_swan white _ _ | a_frog green 青蛙 绿色 | a_pumpkin orange 南瓜 橙色
a_carrot orange _ _ | a_lemon yellow _ _ | chocolate brown _ _ | an_elephant grey 大象 灰色
a_mouse grey 老鼠 灰色 | gold yellow 金子 黄色 | a_leaf green 树叶 绿色 | a_cherry red _ _
night black 黑夜 黑色 | rice white 米饭 白色 | fire red 火 红色 | a_plum purple 李子 紫色
a_bear brown 熊 棕色 | a_pig pink 小猪 粉色 | paper white 纸 白色 | a_cloud white 云 白色
";

/// Animal, what it does with its voice, its young, its home, its legs.
pub(super) const ANIMALS_EN: &str = "
dog barks puppy a_kennel four | cat meows kitten a_house four | cow moos calf a_barn four
sheep bleats lamb a_field four | horse neighs foal a_stable four | pig oinks piglet a_sty four
duck quacks duckling a_pond two | hen clucks chick a_coop two | lion roars cub a_den four
tiger growls cub the_forest four | bee buzzes _ a_hive six | bird sings chick a_nest two
wolf howls pup a_den four | frog croaks tadpole a_pond four | owl hoots owlet a_tree two
goat bleats kid a_barn four | bear growls cub a_cave four | mouse squeaks pup a_hole four
snake hisses _ a_hole no | elephant trumpets calf the_grassland four | monkey chatters _ a_tree four
goose honks gosling a_pond two | spider _ _ a_web eight | fish _ fry water no | ant _ _ a_nest six
rabbit _ kit a_burrow four | kangaroo _ joey the_grassland two | deer _ fawn the_forest four
swan _ cygnet a_lake two | fox yelps cub a_den four | donkey brays foal a_stable four
";

/// Animal, its voice, its home, its legs, in Chinese.
pub(super) const ANIMALS_ZH: &str = "
狗 汪汪 狗房里 四 | 猫 喵喵 家里 四 | 牛 哞哞 牛房里 四 | 羊 咩咩 羊房里 四 | 马 _ 马房里 四 | 猪 哼哼 猪房里 四
鸭子 嘎嘎 水边 两 | 鸡 咯咯 鸡窝里 两 | 鸟 叽叽 树上 两 | 蜜蜂 嗡嗡 蜂房里 六 | 青蛙 呱呱 水边 四
老鼠 吱吱 洞里 四 | 熊 _ 山洞里 四 | 鱼 _ 水里 _ | 蛇 嘶嘶 洞里 _ | 猴子 _ 树上 四 | 老虎 _ 山林里 四
狼 _ 山洞里 四 | 兔子 _ 草地上 四 | 大象 _ 草地上 四 | 狮子 _ 草地上 四
";

/// A kind of thing and the words that belong to it.
pub(super) struct Kind {
    /// One of it, in English.
    pub(super) one: &'static str,
    /// Several of it, in English.
    pub(super) many: &'static str,
    /// Its Chinese name; empty where the words are not called 一种 of it.
    pub(super) zh: &'static str,
    /// Rows: English word, Chinese word or `_`.
    pub(super) words: &'static str,
}

const fn kind(
    one: &'static str,
    many: &'static str,
    zh: &'static str,
    words: &'static str,
) -> Kind {
    Kind {
        one,
        many,
        zh,
        words,
    }
}

/// All kinds of things.
#[rustfmt::skip]
pub(super) const KINDS: [Kind; 13] = [
    kind("fruit", "fruits", "水果",
        "apple 苹果 | pear 梨 | peach 桃子 | banana 香蕉 | grape 葡萄 | plum 李子 | strawberry 草莓
         cherry _ | lemon _ | mango _ | watermelon 西瓜"),
    kind("vegetable", "vegetables", "蔬菜",
        "potato 土豆 | cabbage 白菜 | cucumber 黄瓜 | pumpkin 南瓜 | onion 洋葱 | carrot _ | leek _"),
    kind("animal", "animals", "动物",
        "dog 狗 | cat 猫 | cow 牛 | sheep 羊 | horse 马 | pig 猪 | duck 鸭子 | bird 鸟 | fish 鱼 | lion 狮子
         tiger 老虎 | bear 熊 | wolf 狼 | frog 青蛙 | snake 蛇 | rabbit 兔子 | mouse 老鼠 | monkey 猴子
         bee 蜜蜂 | elephant 大象 | fox _ | goat _"),
    kind("colour", "colours", "颜色",
        "red 红色 | blue 蓝色 | green 绿色 | yellow 黄色 | white 白色 | black 黑色 | brown 棕色 | grey 灰色
         pink 粉色 | purple 紫色 | orange 橙色"),
    kind("drink", "drinks", "饮料", "water 水 | tea 茶 | milk 牛奶 | juice 果汁 | coffee _ | lemonade _"),
    kind("food", "foods", "食物",
        "rice 米饭 | bread 面包 | soup 汤 | cake 蛋糕 | meat 肉 | cheese _"),
    kind("tool", "tools", "工具", "knife 刀 | hammer _ | saw _ | brush 刷子 | pen 笔 | spade _ | axe _"),
    kind("piece of clothing", "pieces of clothing", "衣服",
        "coat 大衣 | hat 帽子 | skirt _ | shirt _ | sock 袜子 | glove 手套 | scarf _"),
    kind("vehicle", "vehicles", "车",
        "car 汽车 | bus 公交车 | train 火车 | boat _ | bicycle 自行车 | truck 卡车 | tram 电车"),
    kind("part of the body", "parts of the body", "",
        "hand 手 | foot 脚 | head 头 | eye 眼睛 | ear 耳朵 | nose 鼻子 | mouth 嘴 | arm _ | knee _"),
    kind("piece of furniture", "pieces of furniture", "家具",
        "table 桌子 | bed 床 | chair 椅子 | shelf 书架 | sofa _ | desk 书桌"),
    kind("member of the family", "members of the family", "",
        "mother 妈妈 | father 爸爸 | brother 哥哥 | sister 姐姐 | grandmother 奶奶 | grandfather 爷爷"),
    kind("plant", "plants", "植物", "tree 树 | flower 花 | bush _ | rose _"),
];

/// Further words to translate: English, Chinese.
pub(super) const OTHER_WORDS: &str = "
sun 太阳 | moon 月亮 | star 星星 | sky 天空 | sea 大海 | river 河 | mountain 山 | book 书 | door 门
house 房子 | school 学校 | teacher 老师 | student 学生 | friend 朋友 | rain 雨 | snow 雪 | wind 风
fire 火 | road 路 | city 城市 | night 夜晚 | king 国王 | name 名字 | today 今天 | tomorrow 明天
yesterday 昨天 | hello 你好 | thanks 谢谢 | goodbye 再见 | paper 纸 | cloud 云 | gold 金子 | ice 冰
egg 鸡蛋 | noodles 面条 | grass 草 | bean 豆子 | leaf 树叶 | boat 船 | day 天 | year 年 | week 星期
";

/// Singular, plural.
pub(super) const PLURALS: &str = "
mouse mice | child children | foot feet | tooth teeth | man men | woman women | goose geese | ox oxen
sheep sheep | fish fish | deer deer | leaf leaves | knife knives | wolf wolves | shelf shelves
wife wives | thief thieves | loaf loaves | baby babies | city cities | lady ladies | berry berries
cherry cherries | fly flies | party parties | story stories | box boxes | fox foxes | bus buses
glass glasses | dish dishes | watch watches | brush brushes | potato potatoes | hero heroes
cat cats | dog dogs | book books | car cars | tree trees | star stars | hand hands | bird birds
";

/// Verb, past tense.
pub(super) const PASTS: &str = "
go went | see saw | eat ate | drink drank | run ran | come came | give gave | take took | make made
write wrote | read read | sing sang | swim swam | fly flew | buy bought | bring brought | think thought
teach taught | catch caught | find found | sleep slept | speak spoke | break broke | drive drove
ride rode | know knew | grow grew | throw threw | sit sat | stand stood | win won | lose lost | tell told
say said | hear heard | walk walked | play played | jump jumped | help helped | look looked | cook cooked
";

/// Short words whose letters are discussed.
pub(super) const SHORT_WORDS: &str = "
cat dog sun red bus cow pig hat fox egg cup tea ant bee owl
moon book tree fish bird star milk rain snow fire door king rose
apple bread house horse water green";

/// A Chinese measure word, then things that are counted with it.
pub(super) const MEASURES: &str = "
本 书 | 只 猫 | 条 鱼 | 条 河 | 匹 马 | 头 牛 | 辆 汽车 | 朵 花 | 棵 树 | 张 纸 | 张 桌子 | 把 刀 | 把 椅子
杯 茶 | 杯 水 | 碗 米饭 | 件 大衣 | 间 房子 | 只 鸟 | 顶 帽子 | 位 老师 | 条 蛇
片 面包 | 朵 云 | 间 学校 | 条 路
";

/// Beginning of a sentence, its last word.
pub(super) const COMPLETIONS_EN: &str = "
The_sun_rises_in_the east | The_sun_sets_in_the west | Fish_swim_in_the water | Birds_fly_in_the sky
We_see_with_our eyes | We_hear_with_our ears | We_smell_with_our nose | We_walk_on_our feet
At_night_we_see_the moon | We_sleep_in_a bed | Bees_make honey | Cows_give_us milk | Hens_lay eggs
Bread_is_made_from flour | Ice_is_made_of water | Snow_falls_in winter | Leaves_fall_in autumn
Flowers_open_in spring | It_is_hot_in summer | We_cut_bread_with_a knife | We_write_with_a pen
We_read_a book | A_cook_works_in_a kitchen | A_teacher_works_in_a school | A_doctor_helps_the sick
A_farmer_works_on_a farm | Rain_falls_from_the clouds | A_baker_makes bread | A_king_lives_in_a castle
A_week_has_seven days | A_year_has_twelve months | A_hand_has_five fingers | Trains_run_on rails
";

/// Beginning of a Chinese sentence, its end.
pub(super) const COMPLETIONS_ZH: &str = "
太阳从东边 升起 | 太阳从西边 落下 | 鱼在水里 游 | 鸟在天上 飞 | 我们用眼睛 看 | 我们用耳朵 听
我们用嘴 说话 | 我们用脚 走路 | 晚上我们看见 月亮 | 我们在床上 睡觉 | 蜜蜂会做 蜂蜜 | 牛给我们 牛奶
母鸡会下 鸡蛋 | 冬天会下 雪 | 夏天天气很 热 | 冬天天气很 冷 | 春天会开 花 | 秋天树叶会 落下
我们用刀切 面包 | 我们用笔 写字 | 老师在学校 教书 | 学生在学校 读书 | 一个星期有七 天 | 一年有十二个 月
雨从云里 落下 | 火车在铁路上 跑 | 一只手有五个 手指 | 冰是水做 的
";

/// Something that is judged, in English: a subject with its verb.
pub(super) const SUBJECTS_EN: &str = "
the_soup_was the_film_was the_book_was the_room_was the_trip_was the_cake_was the_song_was the_game_was
the_party_was the_weather_was the_food_was the_hotel_was my_day_was the_lesson_was the_story_was";
/// Kind words, in English.
pub(super) const PRAISE_EN: &str = "
lovely wonderful great excellent very_good a_joy beautiful perfect delightful really_nice";
/// Harsh words, in English.
pub(super) const BLAME_EN: &str = "
awful terrible horrible very_bad boring a_mess ugly dreadful a_great_pity really_poor";

/// Something that is judged, in Chinese.
pub(super) const SUBJECTS_ZH: &str = "
这个汤 这本书 这个房间 这个蛋糕 这首歌 今天的天气 这个故事 这里的饭 这件衣服 这家店 这个老师 这次比赛";
/// Kind words, in Chinese.
pub(super) const PRAISE_ZH: &str = "很好 非常好 太美了 真不错 很有意思 让人高兴 我很喜欢 好极了";
/// Harsh words, in Chinese.
pub(super) const BLAME_ZH: &str = "很差 非常坏 太糟了 真难看 没有意思 让人生气 我不喜欢 差极了";

/// The days of the week in order.
pub(super) const DAYS_EN: &str = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";
/// The months in order.
pub(super) const MONTHS_EN: &str =
    "January February March April May June July August September October November December";
/// The days of the week in Chinese.
pub(super) const DAYS_ZH: &str = "星期一 星期二 星期三 星期四 星期五 星期六 星期日";
/// The months in Chinese.
pub(super) const MONTHS_ZH: &str =
    "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月";
/// The seasons in order.
pub(super) const SEASONS_EN: &str = "spring summer autumn winter";
/// The seasons in Chinese.
pub(super) const SEASONS_ZH: &str = "春天 夏天 秋天 冬天";
/// Numbers from zero on.
pub(super) const NUMBERS_EN: &str =
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
     sixteen seventeen eighteen nineteen twenty";
