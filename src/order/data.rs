//! What clients keep with an order beside its items: their reference, the customer, a note and metadata.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{ApiError, Fields, Nullable, TextMapLimits, line, text_map, text_or_blank};

/// The longest reference of a client, in characters.
pub const LONGEST_REFERENCE: usize = 100;
const LONGEST_NAME: usize = 200;
const LONGEST_EMAIL: usize = 254;
const LONGEST_PHONE: usize = 50;
const LONGEST_NOTE: usize = 2000;
pub(super) const METADATA: TextMapLimits = TextMapLimits {
    members: 50,
    name: 40,
    text: 500,
};

/// Texts by key.
pub type Metadata = BTreeMap<String, String>;

/// What clients keep with an order. Not printed, because logs must not have it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrderData {
    /// The client's reference, such as the number of the order in a shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_reference: Option<String>,
    /// The customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Texts by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// The customer of an order.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Customer {
    /// The client's reference of the customer, such as a customer number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub reference: Option<String>,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// Phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 50)]
    pub phone: Option<String>,
}

impl fmt::Debug for OrderData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrderData")
    }
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer")
    }
}

/// Changes of an order's data. A member that is left out stays, and one that is null or blank is removed.
#[derive(ToSchema)]
#[schema(as = OrderChanges)]
pub struct DataChanges {
    /// The client's reference of the order. It cannot change once it is set.
    #[schema(value_type = Option<String>, max_length = 100)]
    pub(super) external_reference: Nullable<String>,
    /// The customer: each member by itself.
    #[schema(value_type = Option<Customer>)]
    customer: Nullable<CustomerChanges>,
    /// A note.
    #[schema(value_type = Option<String>, max_length = 2000)]
    note: Nullable<String>,
    /// Up to 50 texts by key: keys of at most 40 characters, texts of at most 500. Each key by itself; null removes it.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: Nullable<BTreeMap<String, Option<String>>>,
}

struct CustomerChanges {
    reference: Nullable<String>,
    name: Nullable<String>,
    email: Nullable<String>,
    phone: Nullable<String>,
}

impl DataChanges {
    /// Reads the fields. A wrong one counts as left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            external_reference: fields.nullable("external_reference", line(LONGEST_REFERENCE)),
            customer: fields.nullable_object("customer", CustomerChanges::read),
            note: fields.nullable("note", text_or_blank(LONGEST_NOTE)),
            metadata: fields.nullable("metadata", text_map(METADATA)),
        }
    }

    /// Applies the changes, and returns the names of the members that they change.
    pub fn apply(&self, data: &mut OrderData) -> Result<Vec<&'static str>, ApiError> {
        let before = data.clone();
        set(&mut data.external_reference, &self.external_reference);
        set(&mut data.note, &self.note);
        match &self.customer {
            Nullable::Absent => {}
            Nullable::Null => data.customer = None,
            Nullable::Value(changes) => changes.apply(&mut data.customer),
        }
        match &self.metadata {
            Nullable::Absent => {}
            Nullable::Null => data.metadata = None,
            Nullable::Value(changes) => merge(&mut data.metadata, changes)?,
        }
        Ok(before.changed(data))
    }
}

impl CustomerChanges {
    #[expect(clippy::unnecessary_wraps, reason = "readers of objects may fail")]
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            reference: fields.nullable("reference", line(LONGEST_REFERENCE)),
            name: fields.nullable("name", line(LONGEST_NAME)),
            email: fields.nullable("email", line(LONGEST_EMAIL)),
            phone: fields.nullable("phone", line(LONGEST_PHONE)),
        })
    }

    fn apply(&self, customer: &mut Option<Customer>) {
        let mut changed = customer.take().unwrap_or_default();
        set(&mut changed.reference, &self.reference);
        set(&mut changed.name, &self.name);
        set(&mut changed.email, &self.email);
        set(&mut changed.phone, &self.phone);
        *customer = Some(changed).filter(|changed| *changed != Customer::default());
    }
}

fn set(member: &mut Option<String>, change: &Nullable<String>) {
    match change {
        Nullable::Absent => {}
        Nullable::Null => *member = None,
        Nullable::Value(text) => *member = Some(text.clone()).filter(|text| !text.is_empty()),
    }
}

fn merge(
    metadata: &mut Option<Metadata>,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<(), ApiError> {
    let mut merged = metadata.take().unwrap_or_default();
    for (key, text) in changes {
        match text {
            Some(text) => drop(merged.insert(key.clone(), text.clone())),
            None => drop(merged.remove(key)),
        }
    }
    if merged.len() > METADATA.members {
        let message = format!("Ensure this field has no more than {} keys.", METADATA.members);
        return Err(ApiError::field("metadata", message));
    }
    *metadata = Some(merged).filter(|merged| !merged.is_empty());
    Ok(())
}

impl OrderData {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of the members that differ.
    fn changed(&self, after: &Self) -> Vec<&'static str> {
        let [before_customer, after_customer] =
            [self, after].map(|data| data.customer.clone().unwrap_or_default());
        let members = [
            (
                "external_reference",
                self.external_reference != after.external_reference,
            ),
            (
                "customer.reference",
                before_customer.reference != after_customer.reference,
            ),
            ("customer.name", before_customer.name != after_customer.name),
            ("customer.email", before_customer.email != after_customer.email),
            ("customer.phone", before_customer.phone != after_customer.phone),
            ("note", self.note != after.note),
            ("metadata", self.metadata != after.metadata),
        ];
        let changed = members.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(name, _)| name).collect()
    }
}
