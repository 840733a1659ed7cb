-- A page of the book, for people. ARGV[3] where it goes on   ARGV[4] how many, about   ARGV[5] one base, or empty
-- Answers: where it goes on, and per job: base, lane's number, 1 if active, hold, load, lease's end or empty, message.

local page
if ARGV[5] ~= '' then
    local rec = redis.call('HGET', book, ARGV[5])
    page = { '0', rec and { ARGV[5], rec } or {} }
else
    page = redis.call('HSCAN', book, ARGV[3], 'COUNT', ARGV[4])
end
local out = {}
for i = 1, #page[2], 2 do
    local base = page[2][i]
    local waiting, active = halves(page[2][i + 1])
    for n, part in ipairs({ active or false, waiting or false }) do
        if part then
            local lane, slot, x, _, load = parts(part)
            local id = id_of(base, slot)
            local state = lane and state_of(lane, id)
            if state then
                local ends = state == 'active' and redis.call('ZSCORE', P[lane] .. 'lease', id) or ''
                local due = (state == 'retry') and redis.call('ZSCORE', P[lane] .. 'retry', id) or ''
                local msg = (state == 'archived' or string.sub(base, 1, 2) == '~~') and redis.call('HGET', task(lane, id), 'msg') or ''
                out[#out + 1] = { base, lane, state, load, ends or '', due or '', msg or '' }
            end
        end
    end
end
return { page[1], out }
