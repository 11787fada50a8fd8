-- The fifty values of traits.yaml for ClickHouse, with the shape of by_hand.sql: groups by source, stretches of time from
-- scans of their own, one row a profile at the end. Numbers that are no whole numbers come out in micro-units.
WITH
purchases AS (
  SELECT
    source_id,
    sum(n_amount) AS total,
    count(n_amount) AS priced,
    max(n_amount) AS dearest,
    count() AS items,
    min(ts_ms) AS first_ms,
    max(ts_ms) AS last_ms,
    maxOrNullIf(ts_ms, s_department = 'FUEL') AS fuel_ms,
    argMinIf(tuple(ts_ms, event_id, s_store_id), tuple(ts_ms, event_id), s_store_id IS NOT NULL) AS first_store,
    argMaxIf(tuple(ts_ms, event_id, s_store_id), tuple(ts_ms, event_id), s_store_id IS NOT NULL) AS last_store,
    sumIf(n_amount, ts_ms >= 1483228800000) AS total_365d,
    countIf(n_amount > 20000000 AND n_quantity = 1000000 AND ts_ms >= 1483228800000) AS dear_365d,
    sumIf(n_coupon_discount, n_coupon_discount > 0 AND ts_ms >= 1483228800000) AS coupon_365d,
    groupUniqArrayIf(s_store_id, ts_ms >= 1483228800000) AS stores_365d
  FROM file('{events}', Parquet, '{columns}')
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system') AND seq <= 14787990
    AND ts_ms < 1514779281000
  GROUP BY source_id
),
purchases_90d AS (
  SELECT
    source_id,
    sumIf(n_amount, ts_ms >= 1507003200000) AS total,
    countIf(n_amount, ts_ms >= 1507003200000) AS priced,
    maxOrNullIf(n_amount, ts_ms >= 1507003200000) AS dearest,
    countIf(ts_ms >= 1507003200000) AS items,
    groupBitmapStateIf(toUInt32(local_day), local_day BETWEEN 17442 AND 17531) AS days,
    groupUniqArrayIf(s_department, ts_ms >= 1507003200000) AS departments,
    sumIf(n_amount, s_department = 'GROCERY' AND ts_ms >= 1507003200000) AS grocery,
    sumIf(n_amount, s_department IN ('PRODUCE', 'SEAFOOD', 'SALAD BAR') AND ts_ms >= 1507003200000) AS fresh,
    countIf(s_department = 'FUEL' AND ts_ms >= 1507003200000) AS fuel,
    countIf(s_brand = 'Private' AND ts_ms >= 1507003200000) AS private,
    sumIf(n_retail_discount, ts_ms >= 1507003200000) AS discount,
    argMaxIf(
      tuple(ts_ms, event_id, s_department), tuple(ts_ms, event_id), s_department IS NOT NULL AND ts_ms >= 1507003200000
    ) AS last_department
  FROM file('{events}', Parquet, '{columns}')
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system') AND seq <= 14787990
    AND ts_ms < 1514779281000 AND ts_ms >= 1506938400000
  GROUP BY source_id
),
purchases_30d AS (
  SELECT
    source_id,
    sumIf(n_amount, ts_ms >= 1512187200000) AS total,
    minOrNullIf(n_amount, ts_ms >= 1512187200000) AS cheapest,
    countIf(ts_ms >= 1512187200000) AS items,
    sumIf(n_quantity, ts_ms >= 1512187200000) AS quantity,
    countIf(s_department = 'PRODUCE' AND ts_ms >= 1512187200000) AS produce,
    groupUniqArrayIf(s_basket_id, ts_ms >= 1512187200000) AS baskets,
    groupBitmapStateIf(toUInt32(local_day), local_day BETWEEN 17502 AND 17531) AS days,
    groupBitmapStateIf(toUInt32(local_day), local_day BETWEEN 17518 AND 17531) AS days_14d,
    groupBitmapStateIf(
      toUInt32(local_day), s_department IN ('PRODUCE', 'SEAFOOD', 'SALAD BAR') AND local_day BETWEEN 17502 AND 17531
    ) AS fresh_days,
    sumIf(n_amount, ts_ms >= 1514174400000) AS total_7d,
    countIf(ts_ms >= 1514174400000) AS items_7d
  FROM file('{events}', Parquet, '{columns}')
  WHERE name = 'purchase' AND kind IN ('track', 'page', 'screen', 'system') AND seq <= 14787990
    AND ts_ms < 1514779281000 AND ts_ms >= 1512122400000
  GROUP BY source_id
),
campaigns AS (
  SELECT
    source_id,
    count() AS campaigns,
    countIf(ts_ms >= 1507003200000) AS campaigns_90d,
    groupUniqArray(s_campaign_type) AS types,
    argMaxIf(tuple(ts_ms, event_id, s_campaign_type), tuple(ts_ms, event_id), s_campaign_type IS NOT NULL) AS last_type
  FROM file('{events}', Parquet, '{columns}')
  WHERE name = 'campaign_received' AND kind IN ('track', 'page', 'screen', 'system') AND seq <= 14787990
    AND ts_ms < 1514779281000
  GROUP BY source_id
),
coupons AS (
  SELECT
    source_id,
    count() AS coupons,
    countIf(s_campaign_type = 'Type A' AND ts_ms >= 1499212800000) AS type_a,
    groupBitmapStateIf(toUInt32(local_day), local_day BETWEEN 17167 AND 17531) AS days,
    max(ts_ms) AS last_ms
  FROM file('{events}', Parquet, '{columns}')
  WHERE name = 'coupon_redeemed' AND kind IN ('track', 'page', 'screen', 'system') AND seq <= 14787990
    AND ts_ms < 1514779281000
  GROUP BY source_id
),
anything AS (
  SELECT
    source_id,
    countIf(ts_ms >= 1514692800000) AS events_24h,
    groupBitmapStateIf(toUInt32(local_day), local_day BETWEEN 17502 AND 17531) AS days
  FROM file('{events}', Parquet, '{columns}')
  WHERE kind IN ('track', 'page', 'screen') AND seq <= 14787990 AND ts_ms < 1514779281000 AND ts_ms >= 1512122400000
  GROUP BY source_id
),
known AS (
  SELECT source_id, profile_id
  FROM file('{identities}', Parquet)
  WHERE valid_from_seq <= 14787990 AND (valid_to_seq IS NULL OR valid_to_seq > 14787990)
),
people AS (
  SELECT
    known.profile_id AS profile_id,
    ifNull(sum(p.total), 0) AS total,
    ifNull(sum(p.priced), 0) AS priced,
    max(p.dearest) AS dearest,
    ifNull(sum(p.items), 0) AS items,
    min(p.first_ms) AS first_ms,
    max(p.last_ms) AS last_ms,
    max(p.fuel_ms) AS fuel_ms,
    ifNull(sum(p.total_365d), 0) AS total_365d,
    ifNull(sum(p.dear_365d), 0) AS dear_365d,
    ifNull(sum(p.coupon_365d), 0) AS coupon_365d,
    uniqExactArray(p.stores_365d) AS stores_365d,
    argMinIf(tupleElement(p.first_store, 3), p.first_store, tupleElement(p.first_store, 3) IS NOT NULL) AS first_store,
    argMaxIf(tupleElement(p.last_store, 3), p.last_store, tupleElement(p.last_store, 3) IS NOT NULL) AS last_store,
    ifNull(sum(q.total), 0) AS total_90d,
    ifNull(sum(q.priced), 0) AS priced_90d,
    max(q.dearest) AS dearest_90d,
    ifNull(sum(q.items), 0) AS items_90d,
    groupBitmapMerge(q.days) AS days_90d,
    uniqExactArray(q.departments) AS departments_90d,
    ifNull(sum(q.grocery), 0) AS grocery_90d,
    ifNull(sum(q.fresh), 0) AS fresh_90d,
    ifNull(sum(q.fuel), 0) AS fuel_90d,
    ifNull(sum(q.private), 0) AS private_90d,
    ifNull(sum(q.discount), 0) AS discount_90d,
    argMaxIf(
      tupleElement(q.last_department, 3), q.last_department, tupleElement(q.last_department, 3) IS NOT NULL
    ) AS last_department,
    ifNull(sum(m.total), 0) AS total_30d,
    min(m.cheapest) AS cheapest_30d,
    ifNull(sum(m.items), 0) AS items_30d,
    ifNull(sum(m.quantity), 0) AS quantity_30d,
    ifNull(sum(m.produce), 0) AS produce_30d,
    uniqExactArray(m.baskets) AS baskets_30d,
    groupBitmapMerge(m.days) AS days_30d,
    groupBitmapMerge(m.days_14d) AS days_14d,
    groupBitmapMerge(m.fresh_days) AS fresh_days_30d,
    ifNull(sum(m.total_7d), 0) AS total_7d,
    ifNull(sum(m.items_7d), 0) AS items_7d,
    ifNull(sum(c.campaigns), 0) AS campaigns,
    ifNull(sum(c.campaigns_90d), 0) AS campaigns_90d,
    uniqExactArray(c.types) AS campaign_types,
    argMaxIf(tupleElement(c.last_type, 3), c.last_type, tupleElement(c.last_type, 3) IS NOT NULL) AS last_campaign_type,
    ifNull(sum(r.coupons), 0) AS coupons,
    ifNull(sum(r.type_a), 0) AS coupons_type_a,
    groupBitmapMerge(r.days) AS coupon_days,
    max(r.last_ms) AS coupon_ms,
    ifNull(sum(a.events_24h), 0) AS events_24h,
    groupBitmapMerge(a.days) AS active_days_30d
  FROM known
  LEFT JOIN purchases AS p ON p.source_id = known.source_id
  LEFT JOIN purchases_90d AS q ON q.source_id = known.source_id
  LEFT JOIN purchases_30d AS m ON m.source_id = known.source_id
  LEFT JOIN campaigns AS c ON c.source_id = known.source_id
  LEFT JOIN coupons AS r ON r.source_id = known.source_id
  LEFT JOIN anything AS a ON a.source_id = known.source_id
  GROUP BY known.profile_id
)
SELECT
  profiles.profile_id AS profile_id,
  total AS total_spent,
  total_7d AS spend_7d,
  total_30d AS spend_30d,
  total_90d AS spend_90d,
  total_365d AS spend_365d,
  if(priced = 0, NULL, intDiv(2 * total + priced, 2 * greatest(priced, 1))) AS average_item_price,
  if(priced_90d = 0, NULL, intDiv(2 * total_90d + priced_90d, 2 * greatest(priced_90d, 1))) AS average_item_price_90d,
  dearest AS dearest_item,
  dearest_90d AS dearest_item_90d,
  cheapest_30d AS cheapest_item_30d,
  intDiv(2 * total_90d + 3, 6) AS month_of_90d,
  if(
    month_of_90d = 0, NULL, toInt64(intDiv(2000000 * toInt128(total_30d) + month_of_90d, 2 * greatest(month_of_90d, 1)))
  ) AS spend_trend,
  if(days_90d = 0, NULL, intDiv(2 * total_90d + days_90d, 2 * greatest(days_90d, 1))) AS spend_per_shopping_day_90d,
  items,
  items_7d,
  items_30d,
  items_90d,
  quantity_30d,
  baskets_30d,
  days_14d AS shopping_days_14d,
  days_30d AS shopping_days_30d,
  days_90d AS shopping_days_90d,
  intDiv(1514779281000 - last_ms, 86400000) AS days_since_purchase,
  intDiv(1514779281000 - first_ms, 86400000) AS days_since_first_purchase,
  intDiv(1514779281000 - profiles.first_seen_ms, 86400000) AS customer_for_days,
  first_store,
  last_store,
  last_department AS last_department_90d,
  stores_365d,
  departments_90d,
  grocery_90d AS grocery_spend_90d,
  produce_30d AS produce_items_30d,
  fresh_90d AS fresh_spend_90d,
  fresh_days_30d,
  fuel_90d AS fuel_stops_90d,
  intDiv(1514779281000 - fuel_ms, 86400000) AS days_since_fuel,
  private_90d AS private_label_items_90d,
  dear_365d AS dear_items_365d,
  discount_90d,
  coupon_365d AS coupon_discount_365d,
  campaigns,
  campaigns_90d,
  campaign_types,
  last_campaign_type,
  coupons,
  coupons_type_a AS coupons_type_a_180d,
  coupon_days AS coupon_days_365d,
  intDiv(1514779281000 - coupon_ms, 86400000) AS days_since_coupon,
  if(campaigns = 0, NULL, intDiv(2000000 * coupons + campaigns, 2 * greatest(campaigns, 1))) AS coupons_per_campaign,
  events_24h,
  active_days_30d
FROM file('{profiles}', Parquet) AS profiles
LEFT JOIN people ON people.profile_id = profiles.profile_id
