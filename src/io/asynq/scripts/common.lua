-- What every script begins with.
--
-- KEYS[1] the line's book: base -> record      KEYS[2…] one per lane, highest first: `asynq:{queue}:`. A base is the id of
-- a key's job where nothing else of the key is: it ends in ~0, its follow-up's id in ~1.
-- ARGV[1] now in ms, or empty: the server's clock      ARGV[2] the lanes' names, joined by commas
--
-- Record: `waiting/active`, either may be empty.
--   waiting: lane,slot,hold,gen|load     hold: p pending, d set back until the run before it ends, r<ms> retry, b archived
--   active:  lease=waiting               what waited when it was taken; lease 0: a foreign worker took it
--   load:    attempts,first,oldest,newest,flags,types     first in 13 digits; flags: 1 must write, 2 run late; types joined by +
-- What a record says is checked against the task's own hash before it is relied upon, because asynq's tools and workers
-- change tasks without it. Beside the book each lane counts its unfinished jobs by the second of their first offer (J11).

local call, byte, find, match, text_sub = redis.call, string.byte, string.find, string.match, string.sub
local book = KEYS[1]
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Per lane: its name, the prefix of its keys, and that of its tasks.
local lanes, P, T, lane_of = {}, {}, {}, {}
for name in string.gmatch(ARGV[2], '[^,]+') do
    lanes[#lanes + 1] = name
    P[#lanes] = KEYS[#lanes + 1]
    T[#lanes] = P[#lanes] .. 't:'
    lane_of[name] = #lanes
end

local function seconds(ms)
    return string.format('%.3f', ms / 1000)
end
-- Leases and what else needs no fractions: whole seconds, rounded up, are compared faster and are what asynq writes.
local function whole_seconds(ms)
    return string.format('%.0f', math.ceil(ms / 1000))
end
local now_ns = string.format('%.0f000000', now)
local UNSTARTED = { pending = true, scheduled = true, retry = true, aggregating = true }

-- What the book says of many bases, in their order.
local function look_up(bases)
    if #bases > 0 and #bases <= 1000 then return call('HMGET', book, unpack(bases)) end
    local all = {}
    for from = 1, #bases, 1000 do
        for i, rec in ipairs(call('HMGET', book, unpack(bases, from, math.min(from + 999, #bases)))) do all[from + i - 1] = rec end
    end
    return all
end
-- Records met so far, with those changed by this script in front.
local recs, dirty = {}, {}
local function load_recs(bases)
    local ask = bases
    if next(recs) ~= nil then
        ask = {}
        for _, base in ipairs(bases) do
            if recs[base] == nil then ask[#ask + 1] = base end
        end
    end
    local got = look_up(ask)
    for i = 1, #ask do recs[ask[i]] = got[i] end
end
local function batched(command, key, list)
    for from = 1, #list, 1000 do
        call(command, key, unpack(list, from, math.min(from + 999, #list)))
    end
end

-- The two halves of a record, as text, or nil.
local function halves(rec)
    if not rec then return nil, nil end
    local cut = find(rec, '/', 1, true)
    local waiting, active = text_sub(rec, 1, cut - 1), text_sub(rec, cut + 1)
    -- What is taken alone gets its lease put before it, and keeps its own bar.
    if byte(active, -1) == 47 then active = text_sub(active, 1, -2) end
    return waiting ~= '' and waiting or nil, active ~= '' and active or nil
end
-- One half: lane's index (nil: not a lane of this call), slot, hold or lease, gen, load.
local function parts(half)
    local lease, waiting = match(half, '^(%d+)=(.*)$')
    local lane, slot, hold, gen, load = match(waiting or half, '^([^,]*),(%d+),([^,]*),([^|]*)|(.*)$')
    return lane_of[lane], slot, lease or hold, gen, load
end
local function half(lane, slot, hold, gen, load)
    return lanes[lane] .. ',' .. slot .. ',' .. hold .. ',' .. gen .. '|' .. load
end

-- How many unfinished jobs more or less there are, per lane and second of their first offer.
local births = {}
for lane = 1, #lanes do births[lane] = {} end
local function count_birth(part, by)
    local lane, _, hold, _, load = parts(part)
    if lane and hold ~= 'b' then
        local second = text_sub(string.format('%013.0f', tonumber(match(load, '^%d+,(%d+)'))), 1, 10)
        births[lane][second] = (births[lane][second] or 0) + by
    end
end
local function count_births(rec, by)
    local waiting, active = halves(rec)
    if waiting then count_birth(waiting, by) end
    if active then count_birth(active, by) end
end
local function firsts(lane) return P[lane] .. 'widerow:firsts' end

-- What the short ways of scripts found out, to be written as it is.
local quick_set, quick_sets = {}, 0
local function set_rec(base, waiting, active)
    if recs[base] then count_births(recs[base], -1) end
    recs[base] = (waiting or active) and ((waiting or '') .. '/' .. (active or '')) or false
    if recs[base] then count_births(recs[base], 1) end
    dirty[base] = true
end
local function save_recs()
    batched('HSET', book, quick_set)
    local set, del = {}, {}
    for base in pairs(dirty) do
        if recs[base] then
            set[#set + 1] = base
            set[#set + 1] = recs[base]
        else
            del[#del + 1] = base
        end
    end
    batched('HSET', book, set)
    batched('HDEL', book, del)
    for lane = 1, #lanes do
        for second, by in pairs(births[lane]) do
            if by ~= 0 and call('HINCRBY', firsts(lane), second, by) <= 0 then call('HDEL', firsts(lane), second) end
        end
    end
end
local function fields(load)
    local attempts, first, oldest, newest, flags, types = string.match(load, '^(%d+),(%d+),(%-?%d*),(%-?%d*),(%d+),(.*)$')
    return tonumber(attempts), tonumber(first), tonumber(oldest), tonumber(newest), tonumber(flags), types
end
local function whole(n)
    return n and string.format('%d', n) or ''
end
local function join(attempts, first, oldest, newest, flags, types)
    return attempts .. ',' .. string.format('%013.0f', first) .. ',' .. whole(oldest) .. ',' .. whole(newest) .. ',' .. flags .. ',' .. types
end
local function pick(a, b, choose)
    if a and b then return choose(a, b) end
    return a or b
end
-- The union of two loads (J4); attempts are the first one's. Says also whether types were added.
local function absorb(mine, other)
    local a1, f1, o1, n1, g1, t1 = fields(mine)
    local _, f2, o2, n2, g2, t2 = fields(other)
    local types = t1
    for name in string.gmatch(t2, '[^+]+') do
        if not string.find('+' .. types .. '+', '+' .. name .. '+', 1, true) then
            types = types == '' and name or types .. '+' .. name
        end
    end
    return join(a1, math.min(f1, f2), pick(o1, o2, math.min), pick(n1, n2, math.max), bit.bor(g1, g2), types), types ~= t1
end
local function with_attempts(load, attempts)
    return (string.gsub(load, '^%d+', attempts, 1))
end
local function with_flag(load, flag)
    local a, f, o, n, g, t = fields(load)
    return join(a, f, o, n, bit.bor(g, flag), t)
end

-- Protobuf of TaskMessage. A field that comes again replaces the earlier one, so changes are appended.
local function varint(n)
    local out = ''
    while n >= 128 do
        out = out .. string.char(n % 128 + 128)
        n = math.floor(n / 128)
    end
    return out .. string.char(n)
end
local function text_field(tag, text)
    return string.char(tag) .. varint(#text) .. text
end
local function id_field(id) return text_field(26, id) end
local function queue_field(lane) return text_field(34, string.match(P[lane], '{(.*)}')) end
local function failed_fields(attempts, text)
    return '\48' .. varint(attempts) .. text_field(58, text) .. '\88' .. varint(math.floor(now / 1000))
end
local function append(key, bytes)
    local msg = redis.call('HGET', key, 'msg')
    if msg then redis.call('HSET', key, 'msg', msg .. bytes) end
end

local function id_of(base, slot) return slot == '0' and base or text_sub(base, 1, -2) .. slot end
local function base_of(id)
    local slot = text_sub(id, -1)
    return slot == '0' and id or text_sub(id, 1, -2) .. '0', slot
end
local function task(lane, id) return T[lane] .. id end
local function state_of(lane, id)
    return lane and redis.call('HGET', task(lane, id), 'state') or nil
end

-- Takes an unstarted job's id out of whatever holds it.
local function unhook(lane, id, state)
    if state == 'pending' then
        redis.call('LREM', P[lane] .. 'pending', 1, id)
    elseif state == 'aggregating' then
        local group = redis.call('HGET', task(lane, id), 'group')
        if group then redis.call('ZREM', P[lane] .. 'g:' .. group, id) end
    else
        redis.call('ZREM', P[lane] .. state, id)
    end
end
local function hook_retry(lane, id, at)
    redis.call('ZADD', P[lane] .. 'retry', seconds(at), id)
    redis.call('HSET', task(lane, id), 'state', 'retry')
end
local function hook_pending(lane, id, at_front)
    redis.call(at_front and 'RPUSH' or 'LPUSH', P[lane] .. 'pending', id)
    redis.call('HSET', task(lane, id), 'state', 'pending', 'pending_since', now_ns)
end

-- Moves an unstarted job to a higher lane, and to the other slot where a run of the same slot is there.
local function raise(from, to, base, slot, new_slot, hold)
    local old_id, new_id = id_of(base, slot), id_of(base, new_slot)
    local old, new = task(from, old_id), task(to, new_id)
    local state = redis.call('HGET', old, 'state')
    local score = state ~= 'pending' and redis.call('ZSCORE', P[from] .. state, old_id) or nil
    unhook(from, old_id, state)
    redis.call('DEL', new)
    redis.call('RENAME', old, new)
    append(new, queue_field(to) .. id_field(new_id))
    if score then
        redis.call('ZADD', P[to] .. state, score, new_id)
    else
        redis.call('LPUSH', P[to] .. 'pending', new_id)
    end
end

-- Puts a run that ended back as a failed one, or ends it in favour of its follow-up. `kind`: r counted retry, c retry
-- that uses up no try, b buried, q given back. Says what became of it: 1 as asked, 2 gave way.
local function settle(base, waiting, lane, slot, gen, load, kind, at, reason)
    local id = id_of(base, slot)
    local key = task(lane, id)
    local attempts = fields(load)
    if kind == 'r' or kind == 'b' then attempts = attempts + 1 end
    if waiting then
        local w_lane, w_slot, w_hold, w_gen, w_load = parts(waiting)
        local state = w_lane and state_of(w_lane, id_of(base, w_slot))
        if UNSTARTED[state] then
            w_load = absorb(w_load, load)
            local w_id = id_of(base, w_slot)
            if kind == 'r' or kind == 'c' then
                w_load = with_attempts(w_load, math.max(fields(w_load), attempts))
                if state ~= 'retry' then
                    unhook(w_lane, w_id, state)
                    hook_retry(w_lane, w_id, at)
                    w_hold = 'r' .. whole(at)
                end
            elseif w_hold == 'd' and state == 'scheduled' then
                unhook(w_lane, w_id, state)
                hook_pending(w_lane, w_id, true)
                w_hold = 'p'
            end
            redis.call('DEL', key)
            if lane < w_lane then
                raise(w_lane, lane, base, w_slot, w_slot, w_hold)
                w_lane = lane
            end
            if w_gen == '' then w_gen = gen end
            set_rec(base, half(w_lane, w_slot, w_hold, w_gen, w_load), nil)
            return 2
        end
    end
    local hold = 'p'
    if kind == 'q' then
        hook_pending(lane, id, true)
    elseif kind == 'b' then
        redis.call('ZADD', P[lane] .. 'archived', whole_seconds(now), id)
        redis.call('HSET', key, 'state', 'archived')
        append(key, failed_fields(attempts, reason))
        hold, gen = 'b', ''
    else
        hook_retry(lane, id, at)
        if kind == 'r' then append(key, failed_fields(attempts, reason)) end
        hold = 'r' .. whole(at)
    end
    set_rec(base, half(lane, slot, hold, gen, with_attempts(load, attempts)), nil)
    return 1
end

-- Retries and set-back jobs whose time has come go into their lanes; says how many. At most `max` of each kind.
local function promote(lane, max)
    local moved = 0
    for _, from in ipairs({ 'scheduled', 'retry' }) do
        local ids = redis.call('ZRANGEBYSCORE', P[lane] .. from, '-inf', seconds(now), 'LIMIT', 0, max)
        local bases = {}
        for i, id in ipairs(ids) do bases[i] = base_of(id) end
        load_recs(bases)
        for i, id in ipairs(ids) do
            redis.call('ZREM', P[lane] .. from, id)
            local key = task(lane, id)
            local held = redis.call('HMGET', key, 'state', 'group')
            if held[2] then
                redis.call('ZADD', P[lane] .. 'g:' .. held[2], seconds(now), id)
                redis.call('HSET', key, 'state', 'aggregating')
            elseif held[1] then
                hook_pending(lane, id, false)
                moved = moved + 1
                local base, slot = base_of(id)
                local waiting, active = halves(recs[base])
                if waiting then
                    local w_lane, w_slot, _, gen, load = parts(waiting)
                    if w_lane == lane and w_slot == slot then set_rec(base, half(lane, slot, 'p', gen, load), active) end
                end
            end
        end
    end
    return moved
end

-- Jobs of a lane that have not started.
local function pending_of(lane)
    return redis.call('LLEN', P[lane] .. 'pending') + redis.call('ZCARD', P[lane] .. 'scheduled')
        + redis.call('ZCARD', P[lane] .. 'retry')
end

-- asynq's counters of a lane: runs that ended, and those that failed.
local function civil(days)
    local z = days + 719468
    local era = math.floor(z / 146097)
    local doe = z - era * 146097
    local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
    local mp = math.floor((5 * doy + 2) / 153)
    local day = doy - math.floor((153 * mp + 2) / 5) + 1
    local month = mp < 10 and mp + 3 or mp - 9
    return string.format('%04d-%02d-%02d', yoe + era * 400 + (month <= 2 and 1 or 0), month, day)
end
local function tally(lane, what, n)
    if n == 0 then return end
    local day = P[lane] .. what .. ':' .. civil(math.floor(now / 86400000))
    if redis.call('INCRBY', day, n) == n then
        redis.call('EXPIREAT', day, math.floor(now / 1000) + 90 * 86400)
    end
    local total = redis.call('GET', P[lane] .. what)
    if total == '9223372036854775807' then
        redis.call('SET', P[lane] .. what, n)
    else
        redis.call('INCRBY', P[lane] .. what, n)
    end
end

-- Ends a run that has no worker any more: a counted retry that is due now. False: it was no run. Its record is loaded.
local function recover(lane, id, reason)
    local base, slot = base_of(id)
    local waiting, active = halves(recs[base])
    local a_lane, a_slot, lease, gen, load
    if active then a_lane, a_slot, lease, gen, load = parts(active) end
    redis.call('ZREM', P[lane] .. 'lease', id)
    if redis.call('LREM', P[lane] .. 'active', -1, id) == 0 then return false end
    if redis.call('EXISTS', task(lane, id)) == 0 then
        if a_lane == lane and a_slot == slot then set_rec(base, waiting, nil) end
        return false
    end
    if a_lane == lane and a_slot == slot then
        settle(base, waiting, lane, slot, gen, load, 'r', now, reason)
        tally(lane, 'processed', 1)
        tally(lane, 'failed', 1)
    else
        hook_pending(lane, id, true)
    end
    return true
end
