-- Jobs for a worker (J2, J6, J8, K5).
--
-- ARGV[3] how many   ARGV[4] lease in ms   ARGV[5] number of the first lease   ARGV[6] 1: strict lanes
-- ARGV[7] weights    ARGV[8] credits       ARGV[9] late jobs: r run, p park, d drop   ARGV[10] late after, ms
-- ARGV[11] late jobs at most   ARGV[12] prefix of document hashes, or empty
-- Answers: credits, late jobs dropped, jobs, messages, document hashes, foreign tasks. A job is two texts: base, and
-- `lane's number,lease,1 if it is to be parked,gen|load`. A message (only where the base does not tell the row) and a hash
-- follow the number of their job. A foreign task: lane's number, id, message.

local max, lease_ms, next_lease = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local on_late, late_after, late_max = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local weights, credits = {}, {}
for w in string.gmatch(ARGV[7], '[^,]+') do weights[#weights + 1] = tonumber(w) end
for c in string.gmatch(ARGV[8], '[^,]+') do credits[#credits + 1] = tonumber(c) end
local jobs, count, messages, documents, foreign, dropped, late = {}, 0, {}, {}, {}, 0, 0
local started, leases, lease_ends = {}, {}, whole_seconds(now + lease_ms)
local open = {}
for lane = 1, #lanes do
    started[lane], leases[lane] = {}, {}
    open[lane] = redis.call('EXISTS', P[lane] .. 'paused') == 0
    if open[lane] then promote(lane, 1000) end
end

-- How many of each lane, by smooth weighted turns, or the highest first.
local function draw(wanted)
    local left, share, any = {}, {}, false
    for lane = 1, #lanes do
        left[lane], share[lane] = open[lane] and redis.call('LLEN', P[lane] .. 'pending') or 0, 0
        any = any or left[lane] > 0
    end
    if not any then return nil end
    for _ = 1, wanted do
        local best, total = nil, 0
        for lane = 1, #lanes do
            if left[lane] > 0 then
                if ARGV[6] == '1' then
                    best = best or lane
                else
                    credits[lane] = credits[lane] + weights[lane]
                    total = total + weights[lane]
                    if not best or credits[lane] > credits[best] then best = lane end
                end
            end
        end
        if not best then break end
        if ARGV[6] ~= '1' then credits[best] = credits[best] - total end
        left[best], share[best] = left[best] - 1, share[best] + 1
    end
    return share
end
local function start(lane, id)
    started[lane][#started[lane] + 1] = id
    local leases = leases[lane]
    leases[#leases + 1] = lease_ends
    leases[#leases + 1] = id
end
-- Active, or without its hash: then the id is dropped.
local function activate(lane, id)
    if call('HSET', T[lane] .. id, 'state', 'active') == 0 then return true end
    redis.call('DEL', task(lane, id))
    redis.call('ZREM', firsts(lane), id)
    return false
end
local function set_back(lane, id, base, slot, gen, load, active)
    redis.call('ZADD', P[lane] .. 'scheduled', lease_ends, id)
    redis.call('HSET', task(lane, id), 'state', 'scheduled')
    set_rec(base, half(lane, slot, 'd', gen, load), active)
end
local function drop_late(lane, id, base, slot, load, active, waited)
    local reason = string.format('late: waited %d s, %d s are allowed', math.floor(waited / 1000), math.floor(late_after / 1000))
    redis.call('ZADD', P[lane] .. 'archived', whole_seconds(now), id)
    redis.call('HSET', task(lane, id), 'state', 'archived')
    append(task(lane, id), text_field(58, reason))
    redis.call('ZREM', firsts(lane), id)
    set_rec(base, half(lane, slot, 'b', '', load), active)
    dropped, late = dropped + 1, late + 1
end
-- `rest` is gen|load.
local function hand_out(lane, id, base, prefix, rest, park)
    local started, leases = started[lane], leases[lane]
    started[#started + 1] = id
    leases[#leases + 1] = lease_ends
    leases[#leases + 1] = id
    local tail = whole(next_lease) .. ','
    next_lease = next_lease + 1
    recs[base] = '/' .. prefix .. tail .. rest
    dirty[base] = true
    jobs[count * 2 + 1] = base
    jobs[count * 2 + 2] = lane .. ',' .. tail .. park .. rest
    count = count + 1
    if byte(base, 1) == 126 and byte(base, 2) == 126 then
        messages[#messages + 1] = tostring(count)
        messages[#messages + 1] = call('HGET', task(lane, id), 'msg') or ''
    end
end
local function take(lane, id, base)
    local slot = text_sub(id, -1)
    local prefix, rec = lanes[lane] .. ',' .. slot .. ',', recs[base]
    -- Nearly always: it waits here, nothing of its key runs, and nothing is late.
    if on_late == 'r' and rec and byte(rec, -1) == 47 and text_sub(rec, 1, #prefix) == prefix then
        if not activate(lane, id) then return set_rec(base, nil, nil) end
        return hand_out(lane, id, base, prefix, text_sub(rec, string.find(rec, ',', #prefix + 1, true) + 1, -2), '0,')
    end
    local waiting, active = halves(rec)
    local w_lane, w_slot, _, gen, load
    if waiting then w_lane, w_slot, _, gen, load = parts(waiting) end
    if w_lane ~= lane or w_slot ~= slot then
        if activate(lane, id) then
            start(lane, id)
            foreign[#foreign + 1] = { lane, id, redis.call('HGET', task(lane, id), 'msg') or '' }
        end
        return
    end
    if active then
        local a_lane, a_slot = parts(active)
        if a_lane and state_of(a_lane, id_of(base, a_slot)) == 'active' then
            return set_back(lane, id, base, slot, gen, load, active)
        end
        active = nil
    end
    local park = '0,'
    if on_late ~= 'r' then
        local _, first, _, _, flags = fields(load)
        if bit.band(flags, 2) == 0 and now - first > late_after then
            if redis.call('EXISTS', task(lane, id)) == 0 then return set_rec(base, nil, active) end
            if on_late == 'd' then return drop_late(lane, id, base, slot, load, active, now - first) end
            park, late = '1,', late + 1
        end
    end
    if not activate(lane, id) then return set_rec(base, nil, active) end
    hand_out(lane, id, base, prefix, gen .. '|' .. load, park)
end

local function wanted()
    return max - count - #foreign + (on_late == 'p' and late or 0)
end
while wanted() > 0 and late < late_max do
    local share = draw(wanted())
    if not share then break end
    for lane = 1, #lanes do
        if share[lane] > 0 then
            local key = P[lane] .. 'pending'
            local ids = redis.call('LRANGE', key, -share[lane], -1)
            redis.call('LTRIM', key, 0, -share[lane] - 1)
            local bases = {}
            for i, id in ipairs(ids) do bases[i] = text_sub(id, 1, -3) end
            load_recs(bases)
            for i = #ids, 1, -1 do take(lane, ids[i], bases[i]) end
        end
    end
end
for lane = 1, #lanes do
    batched('LPUSH', P[lane] .. 'active', started[lane])
    batched('ZADD', P[lane] .. 'lease', leases[lane])
end
save_recs()
if ARGV[12] ~= '' and count > 0 then
    local keys = {}
    for i = 1, count do keys[i] = ARGV[12] .. jobs[i * 2 - 1] end
    for from = 1, count, 1000 do
        local to = math.min(from + 999, count)
        local got = redis.call('MGET', unpack(keys, from, to))
        local gone = {}
        for i = from, to do
            local held = got[i - from + 1]
            if held then
                gone[#gone + 1] = keys[i]
                local ends, hash = string.match(held, '^(%d+),(.*)$')
                if tonumber(ends) > now then
                    documents[#documents + 1] = tostring(i)
                    documents[#documents + 1] = hash
                end
            end
        end
        if #gone > 0 then redis.call('DEL', unpack(gone)) end
    end
end
return { table.concat(credits, ','), dropped, jobs, messages, documents, foreign }
