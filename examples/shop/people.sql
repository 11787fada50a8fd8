-- Households worth a look: the highest spender of each of a few segments, and one that is in none of them.
WITH wanted AS (SELECT unnest(['vip', 'slipping', 'lapsed', 'young_families']) AS segment),
members AS (
    SELECT wanted.segment, profiles.user_id, traits.total_spent
    FROM wanted JOIN segment_members USING (segment) JOIN profiles USING (profile_id) JOIN traits USING (profile_id)
),
picked AS (
    SELECT segment, max_by(user_id, (total_spent, user_id)) AS user_id FROM members GROUP BY segment
    UNION ALL
    SELECT 'none of these', max_by(user_id, (total_spent, user_id))
    FROM profiles JOIN traits USING (profile_id)
    WHERE user_id NOT IN (SELECT user_id FROM members)
)
SELECT string_agg(segment, ', ' ORDER BY segment) AS known_for, user_id
FROM picked WHERE user_id IS NOT NULL GROUP BY user_id ORDER BY known_for DESC
