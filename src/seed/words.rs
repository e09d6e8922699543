//! The words of demo data.

use rand::{rngs::StdRng, seq::IndexedRandom};

/// A random element.
pub(super) fn pick(words: &[&'static str], rng: &mut StdRng) -> &'static str {
    words.choose(rng).copied().unwrap_or_default()
}

pub(super) const CATEGORIES: &[&str] = &[
    "Electronics",
    "Home & Kitchen",
    "Books",
    "Clothing",
    "Sports & Outdoors",
    "Toys & Games",
    "Beauty",
    "Automotive",
    "Garden",
    "Office Supplies",
    "Groceries",
    "Pet Supplies",
    "Music",
    "Tools",
    "Jewellery",
    "Health",
];
pub(super) const ADJECTIVES: &[&str] = &[
    "Smart",
    "Classic",
    "Portable",
    "Premium",
    "Compact",
    "Wireless",
    "Vintage",
    "Sturdy",
    "Light",
    "Modern",
    "Foldable",
    "Quiet",
    "Organic",
    "Everyday",
    "Professional",
    "Essential",
];
pub(super) const FIRST_NAMES: &[&str] = &["Ada", "Grace", "Emmy", "Alan", "Edsger", "Barbara", "Niklaus"];
pub(super) const LAST_NAMES: &[&str] = &["Jansen", "Visser", "Smit", "Bakker", "Meijer", "Mulder"];
pub(super) const COLOURS: &[&str] = &[
    "Blue",
    "Red",
    "Black",
    "White",
    "Green",
    "Silver",
    "Golden",
    "Grey",
    "Orange",
    "Purple",
    "Turquoise",
    "Brown",
];
/// The kind at index `i` belongs to category `i`, modulo their number.
pub(super) const THINGS: &[&str] = &[
    "Headphones",
    "Kettle",
    "Cookbook",
    "Jacket",
    "Tent",
    "Puzzle",
    "Mirror",
    "Dashcam",
    "Lantern",
    "Stapler",
    "Coffee",
    "Dog Bed",
    "Speaker",
    "Toaster",
    "Atlas",
    "Scarf",
    "Backpack",
    "Board Game",
    "Hairbrush",
    "Car Mat",
    "Watering Can",
    "Notebook",
    "Tea",
    "Cat Tree",
];
pub(super) const PRAISE: &[&str] = &[
    "made to last",
    "easy to clean",
    "a gift that is used",
    "tested by our own staff",
    "with a warranty of two years",
    "packed without plastic",
    "loved by our customers",
    "new this season",
];
pub(super) const CITIES: &[&str] = &[
    "Amsterdam",
    "Berlin",
    "Chicago",
    "Dublin",
    "Edinburgh",
    "Florence",
    "Geneva",
    "Helsinki",
    "Istanbul",
    "Jakarta",
    "Kyoto",
    "Lisbon",
    "Madrid",
    "Nairobi",
    "Oslo",
    "Prague",
    "Quito",
    "Rome",
    "Seoul",
    "Toronto",
    "Utrecht",
    "Vienna",
    "Warsaw",
    "York",
    "Zurich",
];
pub(super) const STREETS: &[&str] = &[
    "Main Street",
    "Station Road",
    "Market Square",
    "High Street",
    "Park Avenue",
    "Mill Lane",
    "Harbour Way",
];
