//! SKU and barcodes of products.

use sqlx::PgConnection;

/// Each product with such an id has the code of a carton, too.
const CARTON_EVERY: i64 = 10;

/// Gives products a SKU and an EAN-13 of the range for use within a shop; some have the code of a carton with 12 units. A code that
/// another product has already is left out.
pub(super) async fn make(db: &mut PgConnection, products: &[i64]) -> sqlx::Result<()> {
    let (mut codes, mut owners, mut kinds, mut packs) = (vec![], vec![], vec![], vec![]);
    let mut add = |code, product, kind, pack| {
        codes.push(code);
        owners.push(product);
        kinds.push(kind);
        packs.push(pack);
    };
    for product in products {
        add(format!("AF-{product:06}"), *product, "SKU", 1);
        add(
            with_check_digit(&format!("20{product:010}")),
            *product,
            "BARCODE",
            1,
        );
        if product % CARTON_EVERY == 0 {
            add(
                with_check_digit(&format!("120{product:010}")),
                *product,
                "BARCODE",
                12,
            );
        }
    }
    sqlx::query!(
        "insert into product_code (code, product_id, kind, pack)
         select * from unnest($1::text[], $2::bigint[], $3::text[], $4::integer[]) on conflict do nothing",
        &codes,
        &owners,
        &kinds as &[&str],
        &packs
    )
    .execute(db)
    .await
    .map(drop)
}

/// Adds the check digit of a GTIN: from the right, digits count three times and once in turns.
fn with_check_digit(digits: &str) -> String {
    let weighed = digits.bytes().rev().zip([3, 1].into_iter().cycle());
    let sum: u32 = weighed
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_gs1() {
        assert_eq!(with_check_digit("400638133393"), "4006381333931");
        assert_eq!(with_check_digit("1540014128876"), "15400141288763");
    }
}
