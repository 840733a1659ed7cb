-- Offers of one line (J1, J2, J4, J9).
--
-- ARGV[3] jobs a lane takes   ARGV[4] one digit per lane: 1 = older jobs of it lie in the overflow
-- ARGV[5] c: only coalesce; a: create too; s: create even where the lane is full   ARGV[6] how many offers of each lane
-- ARGV[7] 1: some base comes twice
-- then of all offers, lane by lane, the bases; their messages as they lie in slot 0 of the lane; and of new jobs what follows
-- the times of a load, with a bar, else `>gen|load`
-- Answers per offer: 1 created, 2 coalesced, 3 the lane is full (with the load of a buried job it would revive), 0 nothing.
-- Nothing at all: all were created.

local max = tonumber(ARGV[3])
local full, pushes, pushed, born = {}, {}, {}, {}
for lane = 1, #lanes do
    full[lane] = string.sub(ARGV[4], lane, lane) == '1'
    pushes[lane], pushed[lane], born[lane] = {}, 0, 0
end
local mode, args, out = ARGV[5], ARGV, nil
-- Only what comes back from the overflow names its row there.
local never_gen = mode ~= 's'
local offered = (#args - 7) / 3
-- Before the first base, the first message, the first spec.
local to_base, to_msg, to_spec = 7, 7 + offered, 7 + offered * 2
local found, room = {}, {}
for from = 1, offered, 1000 do
    local to = math.min(from + 999, offered)
    local got = call('HMGET', book, unpack(args, to_base + from, to_base + to))
    if from == 1 then found = got else for i, rec in ipairs(got) do found[from + i - 1] = rec end end
end
local function flush()
    for lane = 1, #lanes do
        batched('LPUSH', P[lane] .. 'pending', pushes[lane])
        pushes[lane], pushed[lane] = {}, 0
    end
end
local function is_full(lane)
    if mode == 's' then return false end
    if not room[lane] then room[lane] = max - pending_of(lane) end
    if room[lane] <= 0 then full[lane] = true end
    return full[lane]
end
local now_text = string.format('%013.0f', now)
local now_load = '0,' .. now_text .. ','
-- A task of this id that our book did not know leaves every place it may be in.
local function clear_places(lane, id)
    for _, list in ipairs({ 'pending', 'active' }) do redis.call('LREM', P[lane] .. list, 0, id) end
    for _, set in ipairs({ 'lease', 'scheduled', 'retry', 'archived', 'completed' }) do redis.call('ZREM', P[lane] .. set, id) end
end
local function put(lane, id, msg)
    if call('HSET', T[lane] .. id, 'msg', msg, 'state', 'pending', 'pending_since', now_ns) < 3 then clear_places(lane, id) end
    pushed[lane] = pushed[lane] + 1
    pushes[lane][pushed[lane]] = id
    room[lane] = (room[lane] or 0) - 1
end
-- `asked` is the lane its message names.
local function create(lane, asked, base, slot, gen, load, msg)
    local id = id_of(base, slot)
    if lane ~= asked then msg = msg .. queue_field(lane) end
    if slot ~= '0' then msg = msg .. id_field(id) end
    put(lane, id, msg)
    return half(lane, slot, 'p', gen, load)
end

-- The two ways nearly all offers go (the other one is `offer_lane`'s); they do what the general one below does, with fewer
-- texts made on the way.
local waits, fresh = {}, {}
for lane = 1, #lanes do
    waits[lane] = lanes[lane] .. ',0,p,|0,'
    fresh[lane] = waits[lane] .. now_text .. ','
end
-- It waits in this lane or a higher one, nothing of its key runs, and the offer brings no new types. Nil: not so.
local function quick_coalesce(base, rec, spec, lane)
    -- The same change once more, as by many rows of one transaction: nothing to write.
    local same = #fresh[lane]
    if #rec == same + #spec and find(rec, spec, same + 1, true) and find(rec, waits[lane], 1, true) == 1
        and UNSTARTED[call('HGET', T[lane] .. base, 'state')] then return 2 end
    local name, slot, rest, oldest, newest, flags, types = match(rec, '^([^,]*),(%d)(,[^|]*|%d+,%d+,)(%-?%d*),(%-?%d*),(%d+),([^/]*)/$')
    local w_lane = lane_of[name]
    if not w_lane or lane < w_lane then return nil end
    local o2, n2, f2, t2 = match(spec, '^(%-?%d*),(%-?%d*),(%d+),(.*)/$')
    if t2 ~= types and t2 ~= '' or not UNSTARTED[state_of(w_lane, id_of(base, slot))] then return nil end
    if o2 == oldest and n2 == newest and f2 == flags then return 2 end
    if o2 ~= oldest and o2 ~= '' and (oldest == '' or tonumber(o2) < tonumber(oldest)) then oldest = o2 end
    if n2 ~= newest and n2 ~= '' and (newest == '' or tonumber(n2) > tonumber(newest)) then newest = n2 end
    if f2 ~= flags then flags = bit.bor(flags, f2) end
    rec = name .. ',' .. slot .. rest .. oldest .. ',' .. newest .. ',' .. flags .. ',' .. types .. '/'
    recs[base] = rec
    quick_set[quick_sets + 1], quick_set[quick_sets + 2] = base, rec
    quick_sets = quick_sets + 2
    return 2
end

local function offer(base, msg, spec, lane)
    local gen, load = '', nil
    if byte(spec, 1) == 62 then
        gen, load = match(spec, '^>([^|]*)|(.*)$')
    else
        load = now_load .. text_sub(spec, 1, -2)
    end
    local answer
    local waiting, active = halves(recs[base])
    if waiting then
        local w_lane, slot, hold, w_gen, w_load = parts(waiting)
        local id = id_of(base, slot)
        local state = state_of(w_lane, id)
        if UNSTARTED[state] then
            local merged, widened = absorb(w_load, load)
            if gen ~= '' then w_gen = gen end
            if widened then
                local _, _, _, _, _, types = fields(merged)
                append(task(w_lane, id), text_field(122, text_field(10, 'types') .. text_field(18, types)))
            end
            if lane < w_lane then
                flush()
                local a_slot = active and select(2, parts(active))
                local new_slot = a_slot == slot and (slot == '0' and '1' or '0') or slot
                raise(w_lane, lane, base, slot, new_slot, hold)
                w_lane, slot = lane, new_slot
            end
            set_rec(base, half(w_lane, slot, hold, w_gen, merged), active)
            answer = 2
        elseif state == 'archived' then
            -- J7: a change revives it with all its tries and a new age.
            local to = math.min(lane, w_lane)
            local merged = absorb(load, w_load)
            local _, _, o2, n2, g2, t2 = fields(merged)
            local _, f2 = fields(load)
            local revived = join(0, f2, o2, n2, g2, t2)
            if mode == 'c' then
                answer = 0
            elseif is_full(lane) then
                answer = '3' .. to .. '|' .. revived
            else
                redis.call('ZREM', P[w_lane] .. 'archived', id)
                redis.call('DEL', task(w_lane, id))
                set_rec(base, create(to, lane, base, slot, gen, revived, msg), active)
                answer = 1
            end
        elseif state == 'active' then
            -- A foreign worker took it: what comes now is its follow-up.
            active, waiting = '0=' .. half(w_lane, slot, 'p', w_gen, w_load), nil
            set_rec(base, nil, active)
        else
            if state == 'completed' then
                redis.call('ZREM', P[w_lane] .. 'completed', id)
                redis.call('DEL', task(w_lane, id))
            end
            waiting = nil
        end
    end
    if not answer then
        if mode == 'c' then
            answer = 0
        elseif is_full(lane) then
            full[lane] = true
            answer = 3
        else
            local slot = '0'
            if active then
                local a_lane, a_slot = parts(active)
                if a_lane and state_of(a_lane, id_of(base, a_slot)) ~= 'active' then
                    active = nil
                elseif a_slot == '0' then
                    slot = '1'
                end
            end
            set_rec(base, create(lane, lane, base, slot, gen, load, msg), active)
            answer = 1
        end
    end
    return answer
end

-- New rows are written here rather than in functions of their own: calls are dear in Redis's Lua.
local at, repeats = 0, ARGV[7] == '1'
local function offer_lane(lane, count)
    local own, fresh, creates = T[lane], fresh[lane], mode ~= 'c'
    local own_pushes, last, left, made, sets = pushes[lane], pushed[lane], nil, 0, quick_sets
    for n = at + 1, at + count do
        local base, spec = args[to_base + n], args[to_spec + n]
        local met, answer = recs[base], nil
        local rec = met
        if met == nil then rec = found[n] end
        if never_gen or byte(spec, 1) ~= 62 then
            if rec then
                if not dirty[base] then
                    quick_sets = sets
                    answer = quick_coalesce(base, rec, spec, lane)
                    sets = quick_sets
                end
            elseif met == nil and creates then
                left = left or not is_full(lane) and (room[lane] or math.huge) or 0
                if left > 0 then
                    if call('HSET', own .. base, 'msg', args[to_msg + n], 'state', 'pending', 'pending_since', now_ns) < 3 then
                        clear_places(lane, base)
                    end
                    last, left, made = last + 1, left - 1, made + 1
                    own_pushes[last] = base
                    rec = fresh .. spec
                    if repeats then recs[base] = rec end
                    sets = sets + 2
                    quick_set[sets - 1], quick_set[sets] = base, rec
                    answer = 1
                end
            end
        end
        if not answer then
            if met == nil then recs[base] = rec end
            pushed[lane], room[lane], quick_sets = last, left or room[lane], sets
            answer = offer(base, args[to_msg + n], spec, lane)
            own_pushes, last, left, sets = pushes[lane], pushed[lane], nil, quick_sets
        end
        if answer ~= 1 and not out then
            out = {}
            for i = 1, n - 1 do out[i] = 1 end
        end
        if out then out[n] = answer end
    end
    pushed[lane], room[lane], born[lane], quick_sets = last, left or room[lane], made, sets
    at = at + count
end
local lane = 0
for count in string.gmatch(ARGV[6], '%d+') do
    lane = lane + 1
    offer_lane(lane, tonumber(count))
end
flush()
for lane = 1, #lanes do
    if born[lane] > 0 then births[lane][text_sub(now_text, 1, 10)] = (births[lane][text_sub(now_text, 1, 10)] or 0) + born[lane] end
end
-- Redis keeps a small hash as a list, searched from its front for every field. A book that many jobs come into at once is to
-- be a table: one value too long for such a list makes it one, for as long as there are records in it.
local spread = quick_sets >= 32 and call('OBJECT', 'ENCODING', book) ~= 'hashtable'
if spread then quick_set[quick_sets + 1], quick_set[quick_sets + 2] = '~', string.rep('~', 1024) end
save_recs()
if spread then call('HDEL', book, '~') end
return out or {}
