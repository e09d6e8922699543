//! Scopes of the API.

use std::{fmt, str::FromStr};

/// A permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reads categories, products and stores.
    CatalogRead,
    /// Writes categories, products and stores.
    CatalogWrite,
    /// Reads stock and its ledger.
    InventoryRead,
    /// Writes stock.
    InventoryWrite,
    /// Reads orders.
    OrdersRead,
    /// Places orders.
    OrdersWrite,
    /// Changes what clients keep with orders.
    OrdersManage,
    /// Places orders with prices other than those of the products.
    OrdersPrice,
    /// Reads order statistics.
    Stats,
    /// Everything, including future scopes.
    Admin,
}

impl Scope {
    /// All scopes, in list order.
    pub const ALL: [Self; 10] = [
        Self::CatalogRead,
        Self::CatalogWrite,
        Self::InventoryRead,
        Self::InventoryWrite,
        Self::OrdersRead,
        Self::OrdersWrite,
        Self::OrdersManage,
        Self::OrdersPrice,
        Self::Stats,
        Self::Admin,
    ];

    /// The name, such as `orders:write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatalogRead => "catalog:read",
            Self::CatalogWrite => "catalog:write",
            Self::InventoryRead => "inventory:read",
            Self::InventoryWrite => "inventory:write",
            Self::OrdersRead => "orders:read",
            Self::OrdersWrite => "orders:write",
            Self::OrdersManage => "orders:manage",
            Self::OrdersPrice => "orders:price",
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of the API, with a read scope and a write scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Categories, products and stores.
    Catalog,
    /// Stock.
    Inventory,
    /// Orders.
    Orders,
    /// Single orders.
    Order,
    /// Erasure of personal data.
    Privacy,
    /// Order statistics, which are read-only.
    Stats,
}

impl Area {
    /// The scope that a read or write request needs.
    pub fn scope(self, writes: bool) -> Scope {
        match (self, writes) {
            (Self::Catalog, false) => Scope::CatalogRead,
            (Self::Catalog, true) => Scope::CatalogWrite,
            (Self::Inventory, false) => Scope::InventoryRead,
            (Self::Inventory, true) => Scope::InventoryWrite,
            (Self::Orders | Self::Order, false) => Scope::OrdersRead,
            (Self::Orders, true) => Scope::OrdersWrite,
            (Self::Order, true) => Scope::OrdersManage,
            (Self::Privacy, _) => Scope::Admin,
            (Self::Stats, _) => Scope::Stats,
        }
    }
}

/// An unknown scope name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected catalog:read, catalog:write, inventory:read, inventory:write, orders:read, orders:write, orders:manage, orders:price, stats or admin"
)]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or(NotAScope)
    }
}

/// A set of scopes. Only `admin` implies others: all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// All scopes.
    pub const ALL: Self = Self(u16::MAX);
    /// All read scopes.
    pub const READ: Self = Self(
        1 << Scope::CatalogRead as u8
            | 1 << Scope::InventoryRead as u8
            | 1 << Scope::OrdersRead as u8
            | 1 << Scope::Stats as u8,
    );

    /// Whether the set allows `scope`.
    pub fn allow(self, scope: Scope) -> bool {
        self.has(scope) || self.has(Scope::Admin)
    }

    /// The named scopes, in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}
