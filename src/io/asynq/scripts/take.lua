-- Jobs for a worker (J2, J6, J8, K5).
--
-- ARGV[3] how many   ARGV[4] lease in ms   ARGV[5] number of the first lane's leases   ARGV[6] 1: strict lanes
-- ARGV[7] weights    ARGV[8] credits       ARGV[9] late jobs: r run, p park, d drop   ARGV[10] late after, ms
-- ARGV[11] late jobs at most   ARGV[12] prefix of document hashes, or empty
-- ARGV[13] how long those count, ms
-- Answers: credits, late jobs dropped, jobs, numbers of those to be parked, messages, document hashes, foreign tasks. Jobs
-- come in lots, each two lists: bases, and what waited, perhaps with a bar. A message (only where the base does not tell the
-- row) and a hash follow the number of their job. A foreign task: lane's number, id, message. Jobs of one lane share a lease.

local max, lease_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local on_late, late_after, late_max = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local weights, credits = {}, {}
for w in string.gmatch(ARGV[7], '[^,]+') do weights[#weights + 1] = tonumber(w) end
for c in string.gmatch(ARGV[8], '[^,]+') do credits[#credits + 1] = tonumber(c) end
local lots, counted, parked, messages, documents, foreign, dropped, late = {}, 0, {}, {}, {}, {}, 0, 0
local started, starts, leases, lease_ends = {}, {}, {}, whole_seconds(now + lease_ms)
-- The lot that is being filled, after `counted` jobs of others.
local bases, waited, filled
local open, waits, runs = {}, {}, {}
for lane = 1, #lanes do
    started[lane], starts[lane], leases[lane] = {}, 0, {}
    waits[lane] = lanes[lane] .. ',0,p,'
    runs[lane] = whole(ARGV[5] + lane - 1) .. '='
end
-- Seldom is a lane paused or a retry kept anywhere: two questions for all lanes.
local pauses, holds = {}, {}
for lane = 1, #lanes do
    pauses[lane] = P[lane] .. 'paused'
    holds[lane * 2 - 1], holds[lane * 2] = P[lane] .. 'scheduled', P[lane] .. 'retry'
end
local some_paused, some_held = call('EXISTS', unpack(pauses)) > 0, call('EXISTS', unpack(holds)) > 0
for lane = 1, #lanes do
    open[lane] = not some_paused or call('EXISTS', pauses[lane]) == 0
    if open[lane] and some_held then promote(lane, 1000) end
end

-- How many of each lane, by smooth weighted turns, or the highest first.
local function draw(wanted)
    local left, share, any = {}, {}, false
    for lane = 1, #lanes do
        left[lane], share[lane] = open[lane] and redis.call('LLEN', P[lane] .. 'pending') or 0, 0
        any = any or left[lane] > 0
    end
    if not any then return nil end
    -- Whole rounds of turns give each lane its weight and leave the credits as they are.
    local round, rounds = 0, nil
    for lane = 1, #lanes do
        if left[lane] > 0 then
            local most = math.floor(left[lane] / weights[lane])
            round, rounds = round + weights[lane], rounds and math.min(rounds, most) or most
        end
    end
    rounds = ARGV[6] == '1' and 0 or math.min(rounds, math.floor(wanted / round))
    for lane = 1, #lanes do
        if left[lane] > 0 then
            share[lane], left[lane] = rounds * weights[lane], left[lane] - rounds * weights[lane]
        end
    end
    for _ = 1, wanted - rounds * round do
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
    local n, leases = starts[lane] + 1, leases[lane]
    starts[lane], started[lane][n] = n, id
    leases[n * 2 - 1], leases[n * 2] = lease_ends, id
end
-- Active, or without its hash: then the id is dropped.
local function activate(lane, id)
    if call('HSET', T[lane] .. id, 'state', 'active') == 0 then return true end
    redis.call('DEL', task(lane, id))
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
    set_rec(base, half(lane, slot, 'b', '', load), active)
    dropped, late = dropped + 1, late + 1
end
-- Of the job handed out last, where its base is a hash.
local function tell_message(lane, id)
    if byte(id, 1) == 126 and byte(id, 2) == 126 then
        messages[#messages + 1] = tostring(counted + filled)
        messages[#messages + 1] = call('HGET', task(lane, id), 'msg') or ''
    end
end
-- `waiting` may end in a bar.
local function hand_out(lane, id, base, waiting)
    start(lane, id)
    filled = filled + 1
    bases[filled], waited[filled] = base, waiting
    tell_message(lane, id)
end
-- `rec` is what the book says under the id, which is the base of a job in slot 0.
local function take(lane, id, rec)
    local base, slot = base_of(id)
    if recs[base] == nil then
        if slot == '0' then recs[base] = rec else load_recs({ base }) end
    end
    local waiting, active = halves(recs[base])
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
    local park = false
    if on_late ~= 'r' then
        local _, first, _, _, flags = fields(load)
        if bit.band(flags, 2) == 0 and now - first > late_after then
            if redis.call('EXISTS', task(lane, id)) == 0 then return set_rec(base, nil, active) end
            if on_late == 'd' then return drop_late(lane, id, base, slot, load, active, now - first) end
            park, late = true, late + 1
        end
    end
    if not activate(lane, id) then return set_rec(base, nil, active) end
    local taken = half(lane, slot, 'p', gen, load)
    set_rec(base, nil, runs[lane] .. taken)
    hand_out(lane, id, base, taken)
    if park then parked[#parked + 1] = counted + filled end
end

-- Nearly always a job waits here in slot 0, nothing of its key runs, and nothing is late: that way costs one command a job,
-- and is written without calls of our own, which Redis's Lua makes dear. While all go that way, what was popped and what the
-- book said are the lot as they are.
local function take_lane(lane, ids)
    local got, n, usual = look_up(ids), #ids, on_late == 'r'
    local own, waits, runs, own_leases = T[lane], waits[lane], '/' .. runs[lane], leases[lane]
    local begun, sets, whole, copies = starts[lane], quick_sets, true, nil
    if begun == 0 then
        started[lane] = ids
    else
        -- These may be an earlier lot.
        copies = { unpack(started[lane]) }
        started[lane] = copies
    end
    bases, waited, filled = ids, got, 0
    for i = 1, n do
        local id, rec = ids[i], got[i]
        local plain = usual and rec and find(rec, waits, 1, true) == 1 and byte(rec, -1) == 47 and recs[id] == nil
        if plain and call('HSET', own .. id, 'state', 'active') == 0 then
            local now_runs = runs .. rec
            recs[id], begun, sets = now_runs, begun + 1, sets + 2
            quick_set[sets - 1], quick_set[sets] = id, now_runs
            own_leases[begun * 2 - 1], own_leases[begun * 2] = lease_ends, id
            if copies then copies[begun] = id end
            if not whole then
                filled = filled + 1
                bases[filled], waited[filled] = id, rec
            end
            if byte(id, 1) == 126 then
                if whole then filled = i end
                tell_message(lane, id)
            end
        else
            if whole then
                whole, filled = false, i - 1
                bases, waited = { unpack(ids, 1, filled) }, { unpack(got, 1, filled) }
                copies = copies or { unpack(ids, 1, filled) }
                started[lane] = copies
            end
            if plain then
                -- It was without its hash.
                call('DEL', own .. id)
                recs[id] = rec
                set_rec(id, nil, nil)
            else
                starts[lane] = begun
                take(lane, id, rec)
                begun = starts[lane]
            end
        end
    end
    starts[lane], quick_sets = begun, sets
    if whole then filled = n end
    lots[#lots + 1] = { bases, waited }
    counted = counted + filled
end

local function wanted()
    return max - counted - #foreign + (on_late == 'p' and late or 0)
end
while wanted() > 0 and late < late_max do
    local share = draw(wanted())
    if not share then break end
    for lane = 1, #lanes do
        if share[lane] > 0 then
            local ids = call('RPOP', P[lane] .. 'pending', share[lane])
            if ids then take_lane(lane, ids) end
        end
    end
end
for lane = 1, #lanes do
    batched('LPUSH', P[lane] .. 'active', started[lane])
    batched('ZADD', P[lane] .. 'lease', leases[lane])
end
save_recs()
-- K5: taking a job removes the hash of its document. Hashes lie by the period they were put into.
local function take_documents(key)
    local before = 0
    for _, lot in ipairs(lots) do
        local asked, gone = lot[1], {}
        for i, held in ipairs(#asked > 0 and call('HMGET', key, unpack(asked)) or {}) do
            if held then
                gone[#gone + 1] = asked[i]
                local ends, hash = match(held, '^(%d+),(.*)$')
                if tonumber(ends) > now then
                    documents[#documents + 1] = tostring(before + i)
                    documents[#documents + 1] = hash
                end
            end
        end
        batched('HDEL', key, gone)
        before = before + #asked
    end
end
if ARGV[12] ~= '' and counted > 0 then
    local period = math.floor(now / ARGV[13])
    local before, this = ARGV[12] .. whole(period - 1), ARGV[12] .. whole(period)
    if call('EXISTS', before, this) > 0 then
        take_documents(before)
        take_documents(this)
    end
end
return { table.concat(credits, ','), dropped, lots, parked, messages, documents, foreign }
