-- Counts per lane: pending and set back, retry, active, archived, first offer of the oldest that waits, of the oldest
-- unfinished, to the second below. And how long until a retry is due, in ms: 0 is now, -1 never.

local out, due = {}, -1
local function first_of(id)
    local base, slot = base_of(id)
    local waiting = halves(redis.call('HGET', book, base))
    if not waiting then return nil end
    local _, w_slot, _, _, load = parts(waiting)
    if w_slot ~= slot then return nil end
    local _, first = fields(load)
    return first
end
for lane = 1, #lanes do
    local oldest
    for _, id in ipairs(redis.call('LRANGE', P[lane] .. 'pending', -1, -1)) do oldest = pick(oldest, first_of(id), math.min) end
    for _, set in ipairs({ 'retry', 'scheduled' }) do
        for _, id in ipairs(redis.call('ZRANGE', P[lane] .. set, 0, 9)) do oldest = pick(oldest, first_of(id), math.min) end
    end
    local unfinished
    for _, second in ipairs(redis.call('HKEYS', firsts(lane))) do unfinished = pick(unfinished, tonumber(second), math.min) end
    local pending = redis.call('LLEN', P[lane] .. 'pending')
    local retry, scheduled = redis.call('ZCARD', P[lane] .. 'retry'), redis.call('ZCARD', P[lane] .. 'scheduled')
    local active = redis.call('LLEN', P[lane] .. 'active')
    -- Foreign workers end jobs without a word to us; what they leave behind is found in time, an empty lane at once.
    if pending + retry + scheduled + active == 0 then unfinished = nil end
    local paused = redis.call('EXISTS', P[lane] .. 'paused') == 1
    if pending > 0 and not paused then due = 0 end
    if not paused then
        for _, set in ipairs({ 'retry', 'scheduled' }) do
            local next_due = redis.call('ZRANGE', P[lane] .. set, 0, 0, 'WITHSCORES')[2]
            if next_due then
                local wait = math.max(math.ceil(tonumber(next_due) * 1000 - now), 0)
                due = due < 0 and wait or math.min(due, wait)
            end
        end
    end
    out[lane] = {
        pending + scheduled, retry, active, redis.call('ZCARD', P[lane] .. 'archived'), whole(oldest), whole(unfinished and unfinished * 1000),
    }
end
return { out, due }
