-- SPDX-License-Identifier: MIT
-- A Lua load: binary trees, tables that grow, string building; prints a checksum.
local depth = tonumber(arg[1]) or 15

local function make(d)
  if d == 0 then return {} end
  return { make(d - 1), make(d - 1) }
end

local function count(t)
  if t[1] == nil then return 1 end
  return 1 + count(t[1]) + count(t[2])
end

local sum = 0
local long_lived = make(depth)
for d = 4, depth, 2 do
  for _ = 1, 2 ^ (depth - d + 2) do sum = sum + count(make(d)) end
end
local words = {}
for i = 1, 200000 do words[i] = "word" .. (i * 7919 % 10007) end
table.sort(words)
print(sum, count(long_lived), #table.concat(words, " "))
