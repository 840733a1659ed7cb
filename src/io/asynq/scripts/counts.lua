-- Counts per lane: pending and set back, retry, active, archived, first offer of the oldest that waits, of the oldest
-- unfinished. And how long until a retry is due, in ms: 0 is now, -1 never.

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
    local head = redis.call('ZRANGE', firsts(lane), 0, 0, 'WITHSCORES')
    -- A foreign worker that ended a job leaves its entry here.
    for _ = 1, 1000 do
        if not head[1] or redis.call('EXISTS', task(lane, head[1])) == 1 then break end
        redis.call('ZREM', firsts(lane), head[1])
        head = redis.call('ZRANGE', firsts(lane), 0, 0, 'WITHSCORES')
    end
    local pending = redis.call('LLEN', P[lane] .. 'pending')
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
        pending + redis.call('ZCARD', P[lane] .. 'scheduled'), redis.call('ZCARD', P[lane] .. 'retry'),
        redis.call('LLEN', P[lane] .. 'active'), redis.call('ZCARD', P[lane] .. 'archived'), whole(oldest), whole(tonumber(head[2])),
    }
end
return { out, due }
