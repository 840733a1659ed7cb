-- Ends of runs (J7, J10, K5).
--
-- ARGV[3] prefix of document hashes   ARGV[4] how long they count, ms   ARGV[5] the queue's life
-- then verdicts of one lease and kind together: lease, kind, how many, and the bases. Kinds: d done, h done and a hash of the
-- document follows each base, x done without counting, or those of `settle` with the time of a retry or the reason of a burial
-- Answers per verdict: 0 the lease is gone, 1 as asked, 3 as asked and a follow-up waits, 2 gave way; with the gen of a job
-- that ended behind it. Nothing at all: all are as asked.

local args, bases, leases, kinds, hashes, out, all = ARGV, {}, {}, {}, {}, {}, 0
local documents, counts_until = {}, whole(now + args[4]) .. ',' .. args[5] .. ','
local POPPED_MAX = 1000

-- Takes ids off an active list in one command. They lie together as they were taken, at its end unless what was taken
-- before them still runs. What else is met goes back. Answers by number those that were not met, or nil.
local function pop_off(key, ids, n)
    local step = n
    if call('LINDEX', key, -1) ~= ids[1] then
        local at = call('LPOS', key, ids[n], 'RANK', -1, 'MAXLEN', POPPED_MAX)
        if at then step = call('LLEN', key) - at end
    end
    local off = call('RPOP', key, step) or {}
    local met = #off
    if met == n then
        local i = 1
        while i <= n and off[i] == ids[i] do i = i + 1 end
        if i > n then return nil end
    end
    local want, missing, back, last = {}, {}, {}, 0
    for i = 1, n do
        local id = ids[i]
        missing[i] = true
        if not want[id] then want[id] = i end
    end
    -- From the left, so that it goes back in its order.
    for i = met, 1, -1 do
        local id = off[i]
        local number = want[id]
        if number then
            want[id], missing[number] = nil, nil
        else
            last = last + 1
            back[last] = id
        end
    end
    batched('RPUSH', key, back)
    return next(missing) and missing or nil
end

local function leave(n, lease, kind, base, hash)
    bases[#bases + 1] = base
    leases[n], kinds[n], out[n], hashes[n] = lease, kind, base, hash
end
-- Nearly all runs end as usual: done in slot 0, nothing waits behind them, never failed. Those of a group, which share a
-- lane, go together with one command of each kind; the others are left for the general way.
local function end_group(lease, kind, first, count, step)
    local asked = {}
    if step == 1 and count <= 1000 then
        asked = { unpack(args, first, first + count - 1) }
    else
        for i = 1, count do asked[i] = args[first + (i - 1) * step] end
    end
    local got = look_up(asked)
    local begins, lane, runs, now_runs, from, to = '^/' .. lease .. '=([^,]*),0,p,|0,', nil, nil, nil, nil, nil
    local second, same, ends, odd = nil, 0, {}, nil
    for i = 1, count do
        local rec = got[i]
        if rec and not lane then
            lane = lane_of[match(rec, begins)]
            if lane then
                runs = '/' .. lease .. '=' .. lanes[lane] .. ',0,p,|0,'
                from, to = #runs + 1, #runs + 10
                second = text_sub(rec, from, to)
                now_runs = runs .. second
            end
        end
        if rec and lane and find(rec, now_runs, 1, true) == 1 then
            same = same + 1
        elseif rec and lane and find(rec, runs, 1, true) == 1 then
            -- Those of one second of first offer lie together, as they were offered.
            ends[second] = (ends[second] or 0) + same
            second, same = text_sub(rec, from, to), 1
            now_runs = runs .. second
        else
            odd = odd or {}
            odd[i] = true
        end
    end
    local function without(lot)
        local ids, places, n = {}, {}, 0
        for i = 1, count do
            if not lot[i] then
                n = n + 1
                ids[n], places[n] = asked[i], i
            elseif not leases[all + i] then
                leave(all + i, lease, kind, asked[i], step == 2 and args[first + i * 2 - 1] or nil)
            end
        end
        return ids, places, n
    end
    local ids, places, n = asked, nil, count
    if odd then
        ids, places, n = without(odd)
        if n == 0 then return end
    end
    ends[second] = (ends[second] or 0) + same
    local missing = pop_off(P[lane] .. 'active', ids, n)
    if missing then
        odd = odd or {}
        for i in pairs(missing) do
            local place = places and places[i] or i
            local born = text_sub(got[place], from, to)
            odd[place], ends[born] = true, ends[born] - 1
        end
        ids, places, n = without(odd)
        if n == 0 then return end
    end
    local own, keys = T[lane], {}
    for i = 1, n do keys[i] = own .. ids[i] end
    if step == 2 then
        for i = 1, n do
            documents[#documents + 1] = ids[i]
            documents[#documents + 1] = counts_until .. args[first + (places and places[i] or i) * 2 - 1]
        end
    end
    local births = births[lane]
    for born, ended in pairs(ends) do births[born] = (births[born] or 0) - ended end
    batched('ZREM', P[lane] .. 'lease', ids)
    batched('HDEL', book, ids)
    for at = 1, n, 1000 do call('DEL', unpack(keys, at, math.min(at + 999, n))) end
    tally(lane, 'processed', n)
end
local at = 6
while at <= #args do
    local lease, kind, count = args[at], args[at + 1], tonumber(args[at + 2])
    local step = kind == 'h' and 2 or 1
    if kind == 'd' or kind == 'h' then
        end_group(lease, kind, at + 3, count, step)
    else
        for i = 1, count do leave(all + i, lease, kind, args[at + 2 + i]) end
    end
    all = all + count
    at = at + 3 + count * step
end
local function save_documents()
    if #documents > 0 then
        -- The period's hash outlives all that lies in it.
        local key = args[3] .. whole(math.floor(now / args[4]))
        batched('HSET', key, documents)
        call('PEXPIRE', key, args[4] * 2)
    end
end
if #bases == 0 then
    save_documents()
    save_recs()
    return out
end
-- What was ended above has no answer yet.
for n = 1, all do out[n] = out[n] or 1 end
load_recs(bases)
local gone, unleased, processed, failed = {}, {}, {}, {}
local held, missing = {}, {}
for lane = 1, #lanes do
    unleased[lane], processed[lane], failed[lane] = {}, 0, 0
    held[lane], missing[lane] = {}, 0
end

-- Verdicts whose lease holds: their record, lane, slot and gen.
local known = {}
for n, base in ipairs(out) do
    -- Without a lease it has been answered above.
    local rec = leases[n] and recs[base]
    if rec then
        local rec_lease, name, slot, _, gen = match(rec, '/(%d+)=([^,]*),(%d),([^,]*),([^|]*)')
        local lane = lane_of[name]
        if lane and rec_lease == leases[n] then
            local id = id_of(base, slot)
            held[lane][id] = 0
            missing[lane] = missing[lane] + 1
            known[n] = { rec, lane, slot, gen, id }
        end
    end
end

-- Active ids are taken off the list's end, where the oldest lie, many in one command; what was not meant goes back. What
-- lies further in is looked for one by one.
for lane = 1, #lanes do
    local key, ids, left, back, popped = P[lane] .. 'active', held[lane], missing[lane], {}, 0
    local step = left
    while left > 0 and (popped == 0 or left > 4) and popped < POPPED_MAX do
        local off = call('RPOP', key, step) or {}
        for _, id in ipairs(off) do
            if ids[id] == 0 then
                ids[id], left = 1, left - 1
            else
                back[#back + 1] = id
            end
        end
        if #off < step then break end
        popped, step = popped + #off, step * 2
    end
    local again, last = {}, #back
    for i = 1, last do again[i] = back[last + 1 - i] end
    batched('RPUSH', key, again)
end
local function deactivate(lane, id)
    if held[lane][id] == 1 then return true end
    return call('LREM', P[lane] .. 'active', -1, id) > 0
end

local function end_run(n, base, lane, slot, gen, id)
    local kind, more = kinds[n], ''
    if #kind > 1 then kind, more = text_sub(kind, 1, 1), text_sub(kind, 2) end
    local waiting, active = halves(recs[base])
    local load = select(5, parts(active))
    if not deactivate(lane, id) then
        -- Somebody else ended it: asynq's recoverer put it among the retries, or a person deleted it.
        local state = state_of(lane, id)
        if UNSTARTED[state] and not waiting then
            set_rec(base, half(lane, slot, state == 'pending' and 'p' or 'r' .. whole(now), gen, load), nil)
        else
            set_rec(base, waiting, nil)
        end
        return '0'
    end
    unleased[lane][#unleased[lane] + 1] = id
    if kind ~= 'q' and kind ~= 'c' and kind ~= 'x' then
        processed[lane] = processed[lane] + 1
        if kind ~= 'd' and kind ~= 'h' then failed[lane] = failed[lane] + 1 end
    end
    if kind == 'd' or kind == 'x' or kind == 'h' then
        gone[#gone + 1] = task(lane, id)
        if waiting then
            local w_lane, w_slot, hold, w_gen, w_load = parts(waiting)
            local w_id = id_of(base, w_slot)
            if hold == 'd' and w_lane and redis.call('ZREM', P[w_lane] .. 'scheduled', w_id) == 1 then
                hook_pending(w_lane, w_id, true)
                waiting = half(w_lane, w_slot, 'p', w_gen, w_load)
            end
        end
        set_rec(base, waiting, nil)
        -- 3: its follow-up may start now.
        return (waiting and '3' or '1') .. gen
    end
    local settled = settle(base, waiting, lane, slot, gen, load, kind, tonumber(more), kind == 'b' and more or 'tried again')
    return settled .. (kind == 'b' and settled == 1 and gen or '')
end

local function settle_one(n, base)
    -- An earlier verdict of this call may have ended the same job.
    local own, kind = known[n], kinds[n]
    local answer = own and own[1] == recs[base] and end_run(n, base, own[2], own[3], own[4], own[5]) or '0'
    out[n] = answer
    if kind == 'h' and answer ~= '0' then
        documents[#documents + 1] = base
        documents[#documents + 1] = counts_until .. hashes[n]
    end
end
for n = 1, all do
    if leases[n] then settle_one(n, out[n]) end
end
for lane = 1, #lanes do
    batched('ZREM', P[lane] .. 'lease', unleased[lane])
    tally(lane, 'processed', processed[lane])
    tally(lane, 'failed', failed[lane])
end
for from = 1, #gone, 1000 do redis.call('DEL', unpack(gone, from, math.min(from + 999, #gone))) end
save_documents()
save_recs()
return out
