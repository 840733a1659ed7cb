//! The shop's vocabulary; some of it needs escapes, some is not ASCII, some is empty.

pub(super) const CHANNELS: [&str; 5] = ["web", "app", "门店", "mini program", "call \"centre\""];
pub(super) const CITIES: [&str; 8] = ["Hangzhou", "Zürich", "São Paulo", "上海", "Lagos", "Osaka", "Łódź", "Wagga Wagga"];
pub(super) const REMARKS: [&str; 5] = ["leave at the back\\door", "", "请快一点 😀", "\"gift\"", "ring twice"];
pub(super) const METHODS: [&str; 3] = ["card", "transfer", "alipay"];
pub(super) const REASONS: [&str; 4] = ["broken", "too late", "not as shown", "changed my mind"];
pub(super) const BRANDS: [&str; 6] = ["Acme", "Öko", "北斗", "Nord", "Plain", "O'Neil"];
pub(super) const CATEGORIES: [&str; 5] = ["toys", "tools", "food", "books", "garden"];
pub(super) const COLORS: [&str; 4] = ["red", "blue", "green", "none"];
pub(super) const SIZES: [&str; 4] = ["S", "M", "L", "XL"];
pub(super) const TAGS: [&str; 4] = ["new", "new,sale", "", "sale,last"];
pub(super) const RECEIVER: &str = "receiver ";
pub(super) const GOODS: &str = "goods ";
pub(super) const SKU: &str = "sku-";
pub(super) const OPERATOR: &str = "op-";
pub(super) const SUPPLIER: &str = "supplier ";
