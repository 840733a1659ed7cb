-- What a queue does by itself: expired leases (J10), due retries, completed tasks whose time is over, and entries of our
-- own that foreign workers left behind.
--
-- ARGV[3] how much of each at once   ARGV[4] ms a foreign lease may be over   ARGV[5] 1: look for active ids without a lease
-- ARGV[6] where the sweep of the book goes on   ARGV[7] records it looks at, about
-- Answers: how many jobs moved, where the sweep goes on, jobs ended that the overflow must know of (gens), records that
-- foreign workers had left behind.

local max = tonumber(ARGV[3])
local moved = 0
local function count(moves) moved = moved + (moves and 1 or 0) end

for lane = 1, #lanes do
    local over = redis.call('ZRANGEBYSCORE', P[lane] .. 'lease', '-inf', '(' .. seconds(now), 'LIMIT', 0, max)
    local bases = {}
    for i, id in ipairs(over) do bases[i] = base_of(id) end
    load_recs(bases)
    for _, id in ipairs(over) do
        local base, slot = base_of(id)
        local _, active = halves(recs[base])
        local lease = '0'
        if active then
            local a_lane, a_slot, held = parts(active)
            if a_lane == lane and a_slot == slot then lease = held end
        end
        -- A foreign worker renews by its own clock, so it is given time.
        local ends = tonumber(redis.call('ZSCORE', P[lane] .. 'lease', id))
        if lease ~= '0' or ends * 1000 + tonumber(ARGV[4]) < now then count(recover(lane, id, 'lease expired')) end
    end
    if ARGV[5] == '1' then
        for _, id in ipairs(redis.call('LRANGE', P[lane] .. 'active', -max, -1)) do
            if not redis.call('ZSCORE', P[lane] .. 'lease', id) then
                load_recs({ (base_of(id)) })
                count(recover(lane, id, 'lease expired'))
            end
        end
    end
    moved = moved + promote(lane, max)
    local completed = redis.call('ZRANGEBYSCORE', P[lane] .. 'completed', '-inf', seconds(now), 'LIMIT', 0, max)
    for _, id in ipairs(completed) do redis.call('DEL', task(lane, id)) end
    batched('ZREM', P[lane] .. 'completed', completed)
end

local ended, stale = {}, 0
local page = redis.call('HSCAN', book, ARGV[6], 'COUNT', ARGV[7])
for i = 1, #page[2], 2 do
    local base = page[2][i]
    if recs[base] == nil then recs[base] = page[2][i + 1] end
    local waiting, active = halves(recs[base])
    local function alive(part)
        if not part then return nil end
        local lane, slot, _, gen = parts(part)
        -- A lane of another configuration is not ours to judge.
        if not lane or redis.call('EXISTS', task(lane, id_of(base, slot))) == 1 then return part end
        if gen ~= '' then ended[#ended + 1] = { base, gen } end
        return nil
    end
    local w, a = alive(waiting), alive(active)
    if w ~= waiting or a ~= active then
        set_rec(base, w, a)
        stale = stale + 1
    end
end
save_recs()
return { moved, page[1], ended, stale }
