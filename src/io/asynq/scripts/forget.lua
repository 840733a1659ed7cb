-- Jobs that now lie elsewhere leave: buried ones that went to the overflow (a), or waiting ones of a lower lane whose key
-- got a job in a higher one (w). ARGV[3] a or w, then bases. Answers per base its load, or empty.

local bases, out = {}, {}
for i = 4, #ARGV do bases[#bases + 1] = ARGV[i] end
load_recs(bases)
for n, base in ipairs(bases) do
    out[n] = ''
    local waiting, active = halves(recs[base])
    if waiting then
        local lane, slot, _, _, load = parts(waiting)
        local id = id_of(base, slot)
        local state = state_of(lane, id)
        if (ARGV[3] == 'a' and state == 'archived') or (ARGV[3] == 'w' and UNSTARTED[state]) then
            unhook(lane, id, state)
            redis.call('DEL', task(lane, id))
            set_rec(base, nil, active)
            out[n] = load
        end
    end
end
save_recs()
return out
